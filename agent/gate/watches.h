/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watches.h - what a tree watches (inotify, fanotify): no more than its processes may watch here. */
#ifndef HAUL_AGENT_WATCHES_H
#define HAUL_AGENT_WATCHES_H

#include "agent/mig/mig.h"

/**
 * watches_pin() - before CRIU runs, after pins_make(): each watched file is found with the rights of every process that
 * has the descriptor, and CRIU opens what was found
 * Return: 0; -EACCES; -errno
 */
int watches_pin(struct wrk *w, struct err *e);
/** watches_set() - CRIU has made the watches: give them the flags that it leaves out. What cannot be set is logged */
void watches_set(const struct wrk *w);

#endif
