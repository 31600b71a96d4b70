/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - inside the tracker: what its back ends share, and one table row for each. */
#ifndef HAUL_TRACK_H
#define HAUL_TRACK_H

#include <pthread.h>

#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/marks.h"
#include "engine/tracker/pagemap_scan.h"
#include "engine/tracker/tracker.h"

#define VEC_REGIONS 4096

struct tproc {
	pid_t pid;
	uint64_t born; /* when it started: pids come again */
	int lock; /* that it is ours, or -1 */
	bool said; /* why it is not tracked */
	bool seen; /* in the tree at this round */
	bool tracked; /* by the last round */
	int uffd; /* wp-async: of its memory; -1 */
	bool fresh; /* wp-async: not all of it was scanned since */
	struct runs foreign; /* wp-async: what others had registered at the last round */
	bool known; /* soft-dirty: its bits count from a round of ours on */
	struct marks marks; /* soft-dirty: which page was where at that round */
};

struct tracker {
	pthread_mutex_t lock; /* of v, against tracker_strayed() in other threads */
	pid_t root;
	const struct tracker_ops *ops;
	struct tproc *v;
	size_t n, cap;
	struct proc_list procs; /* of the round under way */
	struct page_region *vec;
	uint64_t stopped_us;
	bool scans; /* the kernel has PAGEMAP_SCAN */
	bool calm; /* see calm_kernel() */
	uint64_t guard; /* PAGE_IS_GUARD where the kernel knows it */
	uint64_t zero_frame; /* of the kernel's zero page; 0: not told */
};

/* One process in a round. */
struct scan {
	struct tracker *t;
	struct tproc *p;
	int pagemap;
	const struct vma *vma;
	enum direct_io io;
	tracker_emit_fn emit;
	void *arg;
	struct tracker_stats *st;
};

/* Where a look is: read only, from several threads. */
struct look_at {
	const struct tracker *t;
	const struct tproc *p; /* NULL: the marks of its pages are not ours, all are written */
	int pagemap;
	const struct vma *vma;
};

/* What a thread needs for looking. */
struct look_room {
	struct page_region vec[VEC_REGIONS], named[VEC_REGIONS];
};

/* Takes what a look has found; ascending. Return: 0, or what ends the look */
typedef int (*look_out_fn)(void *arg, const struct page_region *v, size_t n);

struct tracker_ops {
	const char *name;
	int (*probe)(struct err *e);
	/* one live process of a round; with *stop it was emit that ended it. NULL: no rounds */
	int (*round)(struct scan *s, bool *stop);
	/* before a look: the process, if its pages' marks mean anything; else NULL */
	const struct tproc *(*known)(const struct tracker *t, pid_t pid);
	/*
	 * The next pages in [*at, end), VEC_REGIONS regions at most, and *at moves on.
	 * Categories: WPALLOWED (tracked), WRITTEN, PFNZERO. Return: regions; -errno
	 */
	long (*look)(const struct look_at *l, uint64_t *at, uint64_t end, struct page_region *vec);
	/* tracker_strayed(); NULL: none ever is */
	void (*strayed)(struct tracker *t, pid_t pid, int places, uint64_t vaddr, size_t pages,
	                bool *out);
	void (*detach)(struct tproc *p);
};

extern const struct tracker_ops tracker_scan_ops, tracker_soft_ops;

/** tracker_known() - a process of earlier rounds; NULL */
const struct tproc *tracker_known(const struct tracker *t, pid_t pid);

/** tracker_vma_among() - does it overlap one of these? */
bool tracker_vma_among(const struct vma *vma, const struct runs *l);
/** tracker_not() - say why a process is not tracked, once */
void tracker_not(struct tproc *p, const char *why);
/** tracker_shared() - has another process of the round the same memory, as after vfork? Says so */
bool tracker_shared(const struct tracker *t, struct tproc *p);
/** tracker_report() - hand runs of pages to emit. Return: what it returned */
int tracker_report(struct scan *s, const struct page_region *v, size_t n);
/** scan_kernel() - has this kernel PAGEMAP_SCAN? */
bool scan_kernel(void);
/** scan_uffd_api() - what tracking needs of a userfaultfd. Return: 0; -errno */
int scan_uffd_api(int fd);
/** calm_kernel() - does a scan for written pages name empty entries, and no protected one? */
bool calm_kernel(void);
/**
 * calm_look() - all of [start, end), by ops->look() or, where that is certain, a shorter way.
 * The tree is stopped. Return: 0; -errno; what @out returned
 */
int calm_look(const struct look_at *l, uint64_t start, uint64_t end, struct look_room *room,
              look_out_fn out, void *arg);
/** scan_guard() - PAGE_IS_GUARD, or 0 where the kernel does not know it */
uint64_t scan_guard(void);
/** soft_zero_frame() - see struct tracker */
uint64_t soft_zero_frame(void);

/* ---- own.c ---- */
/** own_take() - be the one that tracks @pid. Return: a descriptor to hold; -EBUSY; -ESRCH; -errno */
int own_take(pid_t pid, struct err *e);
/** own_above() - does somebody track a tree that @pid is in? Return: 0 no; -EBUSY */
int own_above(pid_t pid, struct err *e);

#endif
