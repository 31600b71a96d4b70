/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exist.h - which pages a stopped tree has. */
#ifndef HAUL_EXIST_H
#define HAUL_EXIST_H

#include "hauler/hauler.h"

/* What the last scan found in one process. */
struct exist_task {
	pid_t pid;
	struct runs dirty;
	struct runs present; /* in mappings that CRIU did not look into */
};

struct exist {
	struct exist_task *v;
	size_t n;
};

/** exist_scan() - the last look at all processes of the stopped tree */
int exist_scan(struct mig *m, struct exist *out, struct err *e);
/** exist_task() - Return: NULL: nothing was found in @pid */
const struct exist_task *exist_task(const struct exist *x, pid_t pid);

/** exist_fn - a run of pages; @eager: needed before the first instruction */
typedef int (*exist_fn)(void *arg, const struct run *run, bool eager);
/**
 * exist_walk() - all pages of a task, ascending: what CRIU listed, and what it left to us
 * @t: of exist_task(), may be NULL
 */
int exist_walk(const struct mig *m, const struct exist_task *t, const struct sink_obj *o,
               exist_fn fn, void *arg, struct err *e);
void exist_fini(struct exist *x);

#endif
