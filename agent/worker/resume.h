/* SPDX-License-Identifier: GPL-2.0-or-later */
/* resume.h - the source is back after its link broke. */
#ifndef HAUL_AGENT_RESUME_H
#define HAUL_AGENT_RESUME_H

#include "agent/mig/mig.h"

/**
 * resume_run() - @t takes the place of a lost control connection (wrk_streams.resume)
 * Ends the old connections, tells the source the outcome and, after the commit, what is missing.
 * @t: t->ch is taken on success
 * Return: 0; -EBUSY another one is taking over; -errno
 */
int resume_run(struct stream *t, const struct Haul__Hello *h, struct err *e);

#endif
