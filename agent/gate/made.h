/* SPDX-License-Identifier: GPL-2.0-or-later */
/* made.h - the processes that CRIU makes for a restore, and their end when it is given up. */
#ifndef HAUL_AGENT_MADE_H
#define HAUL_AGENT_MADE_H

#include "agent/mig/mig.h"

/**
 * made_begin() - from here on a process whose parent dies becomes a child of this worker
 * So all that CRIU makes can be found, even if CRIU is killed.
 */
void made_begin(struct wrk *w);
/** made_over() - the tree runs: its orphans go to init again */
void made_over(void);
/**
 * made_end() - kill every descendant of this worker, and of the haul land that CRIU was started by,
 * that is not hauld itself, and wait 5 s at most until they are gone. CRIU has ended before. Logs what was killed and what could not be
 */
void made_end(const struct wrk *w);
/**
 * made_end_orphans() - the same for a worker that is dead, by the descendants of its CRIU
 * Gives CRIU 2 s to do it itself. For a process that has nothing else to do
 */
void made_end_orphans(pid_t criu, uint64_t criu_start);

/** made_is_hauld() - is @pid a process of this program, and not another one that it has executed? */
bool made_is_hauld(pid_t pid);

#endif
