/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.h - run a migration from its first state to its last. */
#ifndef HAUL_HAULER_RUN_H
#define HAUL_HAULER_RUN_H

#include "hauler/mig/mig.h"

/** run_migration() - the whole migration. Return: 0, or -errno with m->err set */
int run_migration(struct mig *m, const struct opts *opt);
/** run_recovered() - from the journal of a commit: ask the destination, continue from its answer */
int run_recovered(struct mig *m);
/** run_stop() - from the signal thread. Return: false: past the commit, it only stops waiting */
bool run_stop(struct mig *m);
/** run_fini() - free all parts of @m, not @m itself */
void run_fini(struct mig *m);
/** run_state_name() - as docs/HANDOVER.md has it */
const char *run_state_name(enum mig_state s);
enum mig_home run_state_home(enum mig_state s);
/** run_may() - is there an edge? tests/t-handover-tables.sh compares them with docs/HANDOVER.md */
bool run_may(enum mig_state from, enum mig_state to);
/**
 * negotiate_offer() - OFFER and its ANSWER
 * @check_only: nothing will follow (haul check)
 * @out: takes the findings of both hosts
 */
int negotiate_offer(struct mig *m, bool check_only, struct findings *out, struct err *e);

#endif
