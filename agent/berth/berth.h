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

/**
 * berth_offer() - choose the kind, and add a finding if there is no room of this kind
 * @own_pids: in a pid namespace of its own (check_own_pids())
 */
int berth_offer(struct wrk *w, const struct Haul__Offer *o, bool own_pids, struct findings *f,
                struct err *e);
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
/** berth_map() - the tree is restored: learn the pids that it has on this host */
int berth_map(struct wrk *w, struct err *e);
/** berth_pid() - the number on this host of what is @pid in the images. Return: 0: it is gone */
pid_t berth_pid(const struct wrk *w, pid_t pid);
/**
 * berth_proc() - the /proc that the tree sees, as a path of this host
 * @dev: out: its device, 0 when it is the host's; may be NULL
 * Return: length of the path
 */
int berth_proc(const struct wrk *w, dev_t *dev, char *path, size_t bytes);
struct Haul__Berth;
/**
 * berth_part() - a part of the runtime's archive of a container; with the last one its restore begins
 * On success with that, w->criu is the one that the runtime has wanted.
 */
int berth_part(struct wrk *w, const struct Haul__Berth *m, const struct criu_inherit *v, size_t n,
               struct err *e);
/** berth_contains() - does a container's runtime make its mounts, its cgroup, its namespaces? */
bool berth_contains(const struct wrk *w);
/** berth_options() - what a runtime wants of CRIU's restore */
void berth_options(struct wrk *w, struct criu_opts *o);
/** berth_gate() - the tree is at the gate, and the commit is on record. Return: 0; -errno: undo */
int berth_gate(struct wrk *w, struct err *e);
/** berth_runs() - the tree runs here */
void berth_runs(struct wrk *w);
/** berth_refused() - CRIU has been told to give up: who else has to end before what it made is killed */
void berth_refused(struct wrk *w);
/** berth_undo() - nothing of the tree is left here: give up the room */
void berth_undo(struct wrk *w);
/** berth_free() - the migration is over; without berth_undo() before, the tree keeps its room */
void berth_free(struct wrk *w);

/* ---- of a worker that has died; by w->keep alone ---- */

/** berth_adopt() - a successor takes the room over */
void berth_adopt(struct wrk *w);

#endif
