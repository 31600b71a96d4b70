/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * objects.h - shared memory whose pages have arrived before CRIU restores: the file in the page store becomes that of
 * the program. CRIU opens it by our descriptor, and carries none of its bytes.
 */
#ifndef HAUL_AGENT_OBJECTS_H
#define HAUL_AGENT_OBJECTS_H

#include "agent/mig/mig.h"

struct sobj;

/** objects_find() - which shared memory of the images can be handed to CRIU so. Return: 0; -errno */
int objects_find(struct wrk *w, struct err *e);
/** objects_take() - all its pages are in @o: it shall be that. Return: 1; 0: CRIU makes it from images; -errno */
int objects_take(struct wrk *w, uint64_t obj, struct sobj *o, struct err *e);
/** objects_place() - the last before CRIU runs: change the images. Return: 0; -errno */
int objects_place(struct wrk *w, struct err *e);
/** objects_seal() - at the gate: seals, which would have been in the way before. Return: 0; -errno */
int objects_seal(struct wrk *w, struct err *e);
/** objects_free() - forget them; the store keeps its files */
void objects_free(struct wrk *w);

#endif
