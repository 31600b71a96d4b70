/* SPDX-License-Identifier: GPL-2.0-or-later */
/* successor.h - what a guardian does when its worker has died. */
#ifndef HAUL_AGENT_SUCCESSOR_H
#define HAUL_AGENT_SUCCESSOR_H

struct guard;

/**
 * successor_main() - guard_ops.succeed: in the process that takes the dead worker's place
 * @arg: struct wrk as it was at guard_start(); gets store, pager, secret, root_pid
 * Serves the pages that are here; threads wait for the others until the source is back (resume.c).
 * Return: exit status
 */
int successor_main(void *arg, struct guard *g);
/** successor_undone() - guard_ops.undone: undo the dead worker's changes of files and network */
void successor_undone(void *arg, struct guard *g);

#endif
