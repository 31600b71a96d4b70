/* SPDX-License-Identifier: GPL-2.0-or-later */
/* offer.h - the answer to an offer. */
#ifndef HAUL_AGENT_OFFER_H
#define HAUL_AGENT_OFFER_H

struct wrk;
struct Haul__Msg;
struct err;

/**
 * offer_take() - check the offer against this host, remember it, and send ANSWER with the findings
 * Return: 0, also with blockers: then w->offer.refused is set; -errno
 */
int offer_take(struct wrk *w, const struct Haul__Msg *msg, struct err *e);

#endif
