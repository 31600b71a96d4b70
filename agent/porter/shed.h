/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shed.h - a process gives up what root has. */
#ifndef HAUL_AGENT_PORTER_SHED_H
#define HAUL_AGENT_PORTER_SHED_H

#include "common/err.h"

/**
 * shed_everything() - of the calling process, which must have one thread: user, groups, capabilities,
 * files (an empty root directory), network, and most system calls. Descriptors stay.
 * Return: 0; -errno: the process must end
 */
int shed_everything(struct err *e);

#endif
