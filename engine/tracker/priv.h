/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - inside the tracker: what its back ends share, and one table row for each. */
#ifndef HAUL_TRACK_H
#define HAUL_TRACK_H

#include <pthread.h>

#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/marks.h"
#include "engine/tracker/objects.h"
#include "engine/tracker/pagemap_scan.h"
#include "engine/tracker/tracker.h"

#define VEC_REGIONS 4096

struct tproc {
	pid_t pid;
	uint64_t born; /* start time, because pids are reused */
	int lock; /* lock by which we own it; -1 */
	bool said; /* the reason why it is not tracked was logged */
	bool seen; /* in the tree at this round */
	bool tracked; /* in the last round */
	int uffd; /* wp-async: userfaultfd of its memory; -1 */
	bool fresh; /* wp-async: registered, but not yet scanned completely */
	struct runs foreign; /* wp-async: ranges that others had registered at the last round */
	bool known; /* soft-dirty: we have cleared its bits, so they mean something */
	struct marks marks; /* soft-dirty: frame or swap slot of each page at that round */
};

struct tracker {
	pthread_mutex_t lock; /* guards v against tracker_strayed() in other threads */
	pid_t root;
	const struct tracker_ops *ops;
	struct tproc *v;
	size_t n, cap;
	struct proc_list procs; /* processes of the current round */
	struct objects
	        objects; /* shared memory; not used from other threads while a round or look runs */
	struct page_region *vec;
	uint64_t stopped_us;
	bool scans; /* the kernel has PAGEMAP_SCAN */
	bool calm; /* see calm_kernel() */
	uint64_t guard; /* PAGE_IS_GUARD where the kernel knows it */
	uint64_t zero_frame; /* frame of the kernel's zero page; 0: not known */
};

/* One process in a round. */
struct scan {
	struct tracker *t;
	struct tproc *p;
	int pagemap;
	const struct vma *vma;
	struct object *obj; /* that it maps; NULL: private memory */
	enum direct_io io;
	tracker_emit_fn emit;
	void *arg;
	struct tracker_stats *st;
};

/* The place that a scan has reached: read only, used by several threads. */
struct look_at {
	const struct tracker *t;
	const struct tproc *p; /* NULL: its marks are not ours, so all its pages count as written */
	int pagemap;
	const struct vma *vma;
};

/* Buffers of a scanning thread. */
struct look_room {
	struct page_region vec[VEC_REGIONS], named[VEC_REGIONS];
};

/* Takes the regions that a scan has found, ascending. Return: 0; -errno ends the scan */
typedef int (*look_out_fn)(void *arg, const struct page_region *v, size_t n);

struct tracker_ops {
	const char *name;
	bool sees_shared; /* rounds find what was written to shared memory */
	int (*probe)(struct err *e);
	/* scan one live process; *stop: emit returned the error. NULL: no rounds */
	int (*round)(struct scan *s, bool *stop);
	/* before the last scan: the process, if the marks of its pages mean anything; else NULL */
	const struct tproc *(*known)(const struct tracker *t, pid_t pid);
	/*
	 * The next pages in [*at, end), at most VEC_REGIONS regions; *at advances. Categories:
	 * WPALLOWED (tracked), WRITTEN, PFNZERO. Return: regions; -errno
	 */
	long (*look)(const struct look_at *l, uint64_t *at, uint64_t end, struct page_region *vec);
	/* see tracker_strayed(); NULL: pages never stray */
	void (*strayed)(struct tracker *t, pid_t pid, int places, uint64_t vaddr, size_t pages,
	                bool *out);
	void (*detach)(struct tproc *p);
};

extern const struct tracker_ops tracker_scan_ops, tracker_soft_ops;

/** tracker_known() - a process that an earlier round has seen; NULL */
const struct tproc *tracker_known(const struct tracker *t, pid_t pid);

/** tracker_vma_among() - does @vma overlap a run of @l? */
bool tracker_vma_among(const struct vma *vma, const struct runs *l);
/** tracker_not() - log once why a process is not tracked */
void tracker_not(struct tproc *p, const char *why);
/**
 * tracker_shared() - does another process of the round have the same memory, as after vfork()?
 * Logs it
 */
bool tracker_shared(const struct tracker *t, struct tproc *p);
/** tracker_loose() - the round does not see what this process writes to shared memory */
void tracker_loose(struct tracker *t, pid_t pid);
/** tracker_report() - pass runs of pages to emit, or note them as written. Return: its result */
int tracker_report(struct scan *s, const struct page_region *v, size_t n);
/** scan_kernel() - does this kernel have PAGEMAP_SCAN? */
bool scan_kernel(void);
/** scan_uffd_api() - enable the userfaultfd features that tracking needs. Return: 0; -errno */
int scan_uffd_api(int fd);
/** calm_kernel() - does a scan for written pages name empty entries but not protected ones? */
bool calm_kernel(void);
/**
 * calm_look() - scan all of [start, end), by ops->look() or, where that is safe, by a faster way.
 * The tree is stopped. Return: 0; -errno; the error of @out
 */
int calm_look(const struct look_at *l, uint64_t start, uint64_t end, struct look_room *room,
              look_out_fn out, void *arg);
/** scan_guard() - PAGE_IS_GUARD; 0: the kernel does not know it */
uint64_t scan_guard(void);
/** soft_zero_frame() - see struct tracker */
uint64_t soft_zero_frame(void);

/* ---- own.c ---- */
/**
 * own_take() - become the tracker of @pid. Return: a descriptor to keep open; -EBUSY; -ESRCH;
 * -errno
 */
int own_take(pid_t pid, struct err *e);
/** own_above() - does another process track a tree that contains @pid? Return: 0 no; -EBUSY */
int own_above(pid_t pid, struct err *e);

#endif
