/* SPDX-License-Identifier: GPL-2.0-or-later */
/* finish.h - the end of a migration, from the commit on. */
#ifndef HAUL_AGENT_FINISH_H
#define HAUL_AGENT_FINISH_H

#include "agent/mig/mig.h"

/**
 * finish_fill() - until every page is in place; then it is on record, and the source is told
 * If the source is gone before that, the threads that need a missing page wait and the others run:
 * it never returns earlier, because closing the userfaultfds would let them read zeros.
 * Return: false if the tree ended while pages were missing: that is on record and said instead
 */
bool finish_fill(struct wrk *w);
/**
 * finish_bye() - wait 3 s at most until the source says BYE: it has killed its copy
 * A source whose link broke before that asks later, and the journal answers.
 */
void finish_bye(struct wrk *w);

#endif
