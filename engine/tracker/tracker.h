/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tracker.h - which pages of a tree were written since they were last seen. */
#ifndef HAUL_TRACKER_H
#define HAUL_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/proc/proc.h"

/*
 * TRACKER_WP_ASYNC: PAGEMAP_SCAN over memory that is write-protected by userfaultfd (kernel 6.7);
 * exact to the page; huge pages are split at the first write; the process never stops.
 * TRACKER_SOFT_DIRTY: bits of /proc/PID/pagemap, cleared by clear_refs (CONFIG_MEM_SOFT_DIRTY). A
 * process is held while its bits are read and cleared. No write is lost, but a write to a huge
 * page reports all of it (512 pages). TRACKER_NONE: no rounds; only the last scan reports pages.
 */
enum tracker_kind { TRACKER_NONE, TRACKER_WP_ASYNC, TRACKER_SOFT_DIRTY };

struct tracker;

/* Flags of a run from tracker_final(); rounds always report TRACKER_PRESENT|TRACKER_DIRTY. */
#define TRACKER_PRESENT BIT(0)
#define TRACKER_DIRTY   BIT(1) /* written since the last round, or never seen */
#define TRACKER_ZERO    BIT(2) /* the kernel's zero page: reads as zero */
#define TRACKER_FILE    BIT(3) /* page of a file, not (yet) a private copy */
#define TRACKER_DOUBT   BIT(4) /* of shared memory: not found written, but may be: compare it */

/**
 * tracker_emit_fn - receives runs in ascending order per process
 * @pid:  the process (as we see it)
 * Return: 0 to continue; -errno ends the round with that error
 */
typedef int (*tracker_emit_fn)(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr,
                               uint64_t pages, unsigned int flags);

/** tracker_obj_fn - as tracker_emit_fn, for an object of shared memory: @at is the offset in it */
typedef int (*tracker_obj_fn)(void *arg, uint64_t obj, uint64_t at, uint64_t pages,
                              unsigned int flags);

struct tracker_stats {
	uint64_t dirty_pages; /* reported by this round */
	uint64_t tracked_pages; /* present pages in tracked mappings (first round) */
	unsigned int procs; /* tracked processes */
	unsigned int procs_untracked;
	unsigned int vmas_untracked;
	uint64_t scan_us;
	uint64_t stopped_us; /* longest stop of one process so far */
};

/** tracker_probe() - does this kernel support the back end? Return: 0; -ENOTSUP */
int tracker_probe(enum tracker_kind kind, struct err *e);
/** tracker_best() - the best back end on this kernel */
enum tracker_kind tracker_best(void);
/** tracker_kind_name() - "scan", "soft-dirty", "none" */
const char *tracker_kind_name(enum tracker_kind kind);
/** tracker_criu_scans() - does this kernel have PAGEMAP_SCAN, by which newer CRIU finds pages? */
bool tracker_criu_scans(void);

/**
 * tracker_new() - make a tracker; nothing is touched before the first round
 * @root: the tree; new children are found at each round
 */
int tracker_new(struct tracker **out, pid_t root, enum tracker_kind kind, struct err *e);

/**
 * tracker_own() - claim the tree: no other process tracks it until tracker_release(). Later
 * children are claimed at each round; one that another process tracks is left out.
 * Return: 0; -EBUSY with the other tracker and a remedy in @e
 */
int tracker_own(struct tracker *t, struct err *e);

/**
 * tracker_round() - report every page written since the last round, and re-arm it
 *
 * Atomic per page: a page is re-armed before it is reported, so a write after that shows up in the
 * next round; read the page after it was reported. The first round of a mapping reports all its
 * pages (present or swapped, not the zero page, not unmodified file pages). New mappings and
 * processes are included; those that are gone are dropped without error. A mapping that cannot be
 * tracked is not reported at all (tracker_final will).
 */
int tracker_round(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
                  struct err *e);

/**
 * tracker_strayed() - which pages were moved since the last round
 * Memory that is moved away and back between two rounds may keep its marks (soft-dirty; mremap()
 * by whole page tables) although a reader saw other content at its address meanwhile. So a page
 * that was read counts only if it was not named here before or after the read.
 * @places: from tracker_places() for this process, or another descriptor of its /proc/PID/pagemap
 * @out: set to true for such pages, others are not changed. From any thread, while no round runs.
 */
void tracker_strayed(struct tracker *t, pid_t pid, int places, uint64_t vaddr, size_t pages,
                     bool *out);
/**
 * tracker_places() - Return: a descriptor for tracker_strayed(), to be closed by the caller; -1:
 * pages never stray
 */
int tracker_places(const struct tracker *t, pid_t pid);

/**
 * tracker_final() - the tree is stopped: report every present or swapped page of all
 * private mappings with flags; nothing is re-armed
 * Pages of mappings that are not registered with the tracker (any more) are
 * TRACKER_DIRTY. Works also for a process that was never tracked.
 */
int tracker_final(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
                  struct err *e);

/**
 * tracker_objects() - what the last tracker_round() or tracker_final() found of shared memory that lies
 * on no file system (anonymous, memfd, System V) and is mapped in the tree
 *
 * After a round: pages that some mapping has written, and all of an object that is new or that a mapping
 * may have written unseen; read them after that. After tracker_final(): all pages that are there, and
 * what was not found written is TRACKER_DOUBT.
 * Return: 0; -errno; the error of @emit
 */
int tracker_objects(struct tracker *t, tracker_obj_fn emit, void *arg, struct err *e);
/** tracker_object_fd() - to read such an object, until the next round. Return: -1: it is none of the last one */
int tracker_object_fd(const struct tracker *t, uint64_t obj);

/** tracker_release() - undo all registrations, keep @t for statistics */
void tracker_release(struct tracker *t);
void tracker_free(struct tracker *t);
DEFINE_AUTO(tracker, tracker_free)

#endif
