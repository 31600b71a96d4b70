/* SPDX-License-Identifier: GPL-2.0-or-later */
/* identity.h - whose rights the processes of a tree have, for the offer. */
#ifndef HAUL_INSPECT_IDENTITY_H
#define HAUL_INSPECT_IDENTITY_H

#include <sys/types.h>

#include "common/err.h"

struct Haul__Offer;

/**
 * identity_offer() - put the identities of processes into an offer, each once; after outs_offer(),
 * whose entries get the number of theirs
 * @pid, @n: the processes
 * Return: 0; -ENOMEM. identity_offer_fini() frees them in any case
 */
int identity_offer(const pid_t *pid, size_t n, struct Haul__Offer *o, struct err *e);
void identity_offer_fini(struct Haul__Offer *o);

#endif
