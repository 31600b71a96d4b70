/* SPDX-License-Identifier: GPL-2.0-or-later */
/* costs.h - what stops have cost on the way to a host, kept from move to move. */
#ifndef HAUL_HAULER_COSTS_H
#define HAUL_HAULER_COSTS_H

#include "hauler/mig/mig.h"

/** costs_load() - of moves to @dest; of all moves where none has gone there, or @dest is NULL; else, and after a day, a guess */
void costs_load(struct pol_costs *c, const char *dest);
/** costs_keep() - the stop of @m is over and the program runs at the destination: learn from it */
void costs_keep(const struct mig *m);

#endif
