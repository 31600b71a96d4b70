/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pins.h - files whose paths others than root could swap are found by haul, with the rights of the tree, and CRIU opens
 * them by haul's descriptors (holders.h). By a path it would open, as root, whatever the path leads to by then: the
 * open of a FIFO or of a device does something, and so does the making of a file.
 */
#ifndef HAUL_AGENT_PINS_H
#define HAUL_AGENT_PINS_H

#include "agent/mig/mig.h"

/**
 * pins_make() - before CRIU runs, within holders_run(): change the images, by w->regs
 * Files without a name are made here, too, in directories that others than root could swap.
 * Return: 0; -EACCES nobody of the tree may have a file; -ESTALE it is not what was accepted; -errno
 */
int pins_make(struct wrk *w, struct err *e);

#endif
