/* SPDX-License-Identifier: GPL-2.0-or-later */
/* restore.h - CRIU's restore, in the order of its steps. */
#ifndef HAUL_AGENT_RESTORE_H
#define HAUL_AGENT_RESTORE_H

#include "agent/mig/mig.h"

#define WRK_CRIU_LIMIT_MS 10000

struct Haul__Switch;

/**
 * restore_to_gate() - from SWITCH to the gate; w->root_pid is known then
 * Blocks until the deadline of @s at most. On failure nothing of the tree is left.
 */
int restore_to_gate(struct wrk *w, const struct Haul__Switch *s, struct err *e);
/** restore_give_up() - close the gate: CRIU kills what it made, and we kill what CRIU does not */
void restore_give_up(struct wrk *w);
/**
 * restore_open() - tell CRIU to let the tree run
 * Return: 0; -errno: CRIU was not told, and never will be
 */
int restore_open(struct wrk *w, struct err *e);
/**
 * restore_resume() - wait until the tree runs, 30 s at most
 * Return: 0; -ECONNRESET CRIU has died, -ETIMEDOUT: whether all tasks run is not known; -errno: CRIU
 * has reported an error, but the tasks run
 */
int restore_resume(struct wrk *w, struct err *e);
/** restore_kill() - kill tasks that are still alive although CRIU is not */
void restore_kill(struct wrk *w);
/** restore_finish() - let CRIU end, after RUNNING was said */
void restore_finish(struct wrk *w);

#endif
