/* SPDX-License-Identifier: GPL-2.0-or-later */
/* present.h - which pages a stopped tree has. */
#ifndef HAUL_EXIST_H
#define HAUL_EXIST_H

#include "hauler/mig/mig.h"

/* What the last scan found in one process. */
struct present_task {
	pid_t pid;
	struct runs dirty;
	struct runs present; /* in mappings that CRIU may leave to haul */
};

/* What it found of shared memory: all pages that are there, which are sent if they differ from before. */
struct present_object {
	uint64_t obj;
	struct runs data;
	uint64_t dirty_pages; /* of them, by the tracker */
};

struct present;

/** present_start() - the tree is stopped: look at all its processes a last time, in a thread */
int present_start(struct present **out, const struct mig *m, struct err *e);
/** present_wait() - until it is done. @scan_us: out, how long it took; may be NULL */
int present_wait(struct present *x, uint64_t *scan_us, struct err *e);
/** present_task() - Return: NULL: nothing was found in @pid */
const struct present_task *present_task(const struct present *x, pid_t pid);

/** present_object() - Return: NULL: the last scan has not found it */
const struct present_object *present_object(const struct present *x, uint64_t obj);
/** present_has() - waits for the last scan, from any thread. Return: does present_object() find it? */
bool present_has(struct present *x, uint64_t dev, uint64_t inode);

/** present_fn - takes a run of pages; @eager: needed before the first instruction */
typedef int (*present_fn)(void *arg, const struct run *run, bool eager);
/**
 * present_walk() - all pages of a task, ascending: what CRIU listed, and what it left to us
 * @t: of present_task(), may be NULL
 */
int present_walk(struct mig *m, const struct present_task *t, const struct sink_obj *o,
                 present_fn fn, void *arg, struct err *e);
void present_free(struct present *x);

#endif
