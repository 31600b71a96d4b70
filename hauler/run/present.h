/* SPDX-License-Identifier: GPL-2.0-or-later */
/* present.h - which pages a stopped tree has. */
#ifndef HAUL_EXIST_H
#define HAUL_EXIST_H

#include "hauler/mig/mig.h"

/* What the last scan found in one process. */
struct exist_task {
	pid_t pid;
	struct runs dirty;
	struct runs present; /* in mappings that CRIU may leave to us */
};

struct exist;

/** exist_start() - the tree is stopped: the last look at all its processes, in a thread */
int exist_start(struct exist **out, const struct mig *m, struct err *e);
/** exist_wait() - until it is done. @scan_us: out, how long it took; may be NULL */
int exist_wait(struct exist *x, uint64_t *scan_us, struct err *e);
/** exist_task() - Return: NULL: nothing was found in @pid */
const struct exist_task *exist_task(const struct exist *x, pid_t pid);

/** exist_fn - a run of pages; @eager: needed before the first instruction */
typedef int (*exist_fn)(void *arg, const struct run *run, bool eager);
/**
 * exist_walk() - all pages of a task, ascending: what CRIU listed, and what it left to us
 * @t: of exist_task(), may be NULL
 */
int exist_walk(struct mig *m, const struct exist_task *t, const struct sink_obj *o, exist_fn fn,
               void *arg, struct err *e);
void exist_free(struct exist *x);

#endif
