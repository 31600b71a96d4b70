/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth.h - the place where an arriving tree lands: a cgroup of its own (bare), or a haul land whose
 * child it becomes. Called by the worker in the order of this file. docs/HANDOVER.md section 10.
 */
#ifndef HAUL_BERTH_H
#define HAUL_BERTH_H

#include "agent/mig/mig.h"
#include "common/finding.h"

struct Haul__Offer;

/** berth_offer() - choose the kind, and add a finding if there is no room of this kind */
int berth_offer(struct wrk *w, const struct Haul__Offer *o, struct findings *f, struct err *e);
/** berth_start() - make room, before the source stops anything */
int berth_start(struct wrk *w, struct err *e);
/**
 * berth_stream() - a pipe of the berth's
 * @name: "in", "out", "err"
 * Return: a copy of the program's end, the caller's; -ENOENT this kind has none
 */
int berth_stream(const struct wrk *w, const char *name);
/**
 * berth_spawn() - start the CRIU that will restore, within the room, in place of w->criu if there is one
 * @root: the tree's root directory; NULL: the host's
 */
int berth_spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                struct err *e);
/** berth_gate() - the tree is at the gate, and the commit is on record. Return: 0; -errno: undo */
int berth_gate(struct wrk *w, struct err *e);
/** berth_runs() - the tree runs here */
void berth_runs(struct wrk *w);
/** berth_undo() - nothing of the tree is left here: give up the room */
void berth_undo(struct wrk *w);
/** berth_free() - the migration is over; without berth_undo() before, the tree keeps its room */
void berth_free(struct wrk *w);

/* ---- of a worker that has died; by w->keep alone ---- */

/** berth_adopt() - a successor takes the room over */
void berth_adopt(struct wrk *w);

#endif
