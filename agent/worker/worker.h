/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.h - a whole migration at the destination. */
#ifndef HAUL_AGENT_WORKER_H
#define HAUL_AGENT_WORKER_H

#include "agent/mig/mig.h"

/* Given by the daemon that forks the worker; all borrowed. */
struct worker_start {
	const struct agent_conf *conf;
	const struct chan_server *server;
	struct guard *guard; /* new: the worker starts the guardians first of all */
	/* guard_ops of the same names: successor_main(), successor_undone() */
	int (*succeed)(void *arg, struct guard *g);
	void (*undone)(void *arg, struct guard *g);
};

/**
 * worker_main() - from the first connection to the end
 * @ctl_fd: is taken
 * Return: exit status
 */
int worker_main(const struct worker_start *start, int ctl_fd, uint64_t route);
/** worker_continue() - in a successor, with the pager adopted: from the commit to the end */
int worker_continue(struct wrk *w);

/* ---- for tests/t-handover-tables.sh, which compares them with the documents ---- */

/** worker_state_name() - as docs/HANDOVER.md has it */
const char *worker_state_name(enum wrk_state s);
/** worker_may() - does the table have this edge? */
bool worker_may(enum wrk_state from, enum wrk_state to);
/** worker_may_run() - may the tree run here in this state? */
bool worker_may_run(enum wrk_state s);
/** worker_takes() - is the message @kind (HAUL__MSG__BODY_...) allowed in this state? */
bool worker_takes(enum wrk_state s, int kind);

#endif
