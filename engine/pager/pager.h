/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pager.h - userfaultfd server for the restored tree. */
#ifndef HAUL_PAGER_H
#define HAUL_PAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/pager/guard.h"
#include "engine/store/store.h"
#include "engine/runs.h"

struct pager;

struct pager_ops {
	/*
	 * Ask the source for pages at once. Called from the pager's threads; must
	 * not block for long; each page is asked for once.
	 */
	int (*want)(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);
	void *arg;
};

#define PAGER_FAULT_BOUNDS 11
extern const uint32_t pager_fault_le_us[PAGER_FAULT_BOUNDS];

struct pager_stats {
	uint64_t lazy_pages; /* at the start */
	uint64_t left_pages; /* not yet in place */
	uint64_t left_remote_pages; /* of these, still at the source */
	uint64_t faults; /* threads that waited */
	uint64_t faults_remote; /* of these, for a page from the source */
	uint32_t fault_p50_us, fault_p99_us, fault_max_us;
	uint64_t fault_n[PAGER_FAULT_BOUNDS + 1]; /* by pager_fault_le_us */
	uint64_t
	        degraded_us; /* after pager_push(): until threads waited for less than a tenth of the time */
	uint64_t fault_wait_us; /* all waits since then, together */
	uint64_t abandoned_pages; /* never put in place: their address space was gone before */
	uint64_t abandoned_remote_pages; /* of these, at the source */
	unsigned int procs_live; /* userfaultfds still served */
	bool failed; /* see err of pager_wait() */
};

/** pager_new() - @s must outlive it. *out: caller frees. Return: 0; -errno */
int pager_new(struct pager **out, struct store *s, const struct pager_ops *ops, struct err *e);

/** pager_warm() - allocate the memory for the page states of @rss_bytes, before the freeze */
void pager_warm(struct guard *g, uint64_t rss_bytes);

/** pager_new_guarded() - make a pager that a successor can take over */
int pager_new_guarded(struct pager **out, struct guard *g, struct store *s,
                      const struct pager_ops *ops, struct err *e);

/**
 * pager_adopt() - in the successor: take over from the dead pager
 * @s: new and empty; gets the dead pager's files
 * Closes all descriptors except those that the pager needs and those named to guard_keep(). From
 * now on faults on pages in the store are served, and these pages are filled in the background. A
 * page at the source is requested by ops->want when a thread needs it; if that fails (no link yet)
 * the thread waits until pager_ask_again().
 */
int pager_adopt(struct pager **out, struct guard *g, struct store *s, const struct pager_ops *ops,
                struct err *e);

/**
 * pager_add() - before the restore: the lazy pages of this process
 * @local:  pages whose content is in the store (data or zero)
 * @remote: pages that the source still has; both ascending and disjoint
 */
int pager_add(struct pager *p, pid_t pid, const struct runs *local, const struct runs *remote,
              struct err *e);

/**
 * pager_start() - bind lazy-pages.socket in @dirfd, start the threads; faults are
 * served from the first userfaultfd on 
 * @procs: tasks that CRIU will announce (zombies included)
 */
int pager_start(struct pager *p, int dirfd, unsigned int procs, struct err *e);

/**
 * pager_announced() - at the gate, before guard_arm(): wait until we have the userfaultfds of all
 * tasks. CRIU sends them without waiting for an answer; one still on its way when we die would be
 * lost.
 */
int pager_announced(struct pager *p, uint64_t deadline_us, struct err *e);

/** pager_push() - from now on fill in the background too (after the commit) */
void pager_push(struct pager *p);
/**
 * pager_settled() - after pager_push(): wait the moment until pages no longer enter the store. Do
 * not call store_sweep() before: a page may be overwriting its older copy, which looks stale.
 * Return: false: the pager ends
 */
bool pager_settled(struct pager *p);

/**
 * pager_deliver() - remote pages have arrived; from any thread
 * @data: NULL for pages that are zero. Pages that are no longer wanted (discarded, unmapped,
 * received twice) are ignored.
 */
int pager_deliver(struct pager *p, uint64_t obj, uint64_t vaddr, size_t pages, const void *data,
                  struct err *e);

/* @pages pages of @obj from @vaddr on are still at the source */
typedef int (*pager_missing_fn)(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);
/**
 * pager_missing() - after the link was lost: name every page that only the source has
 * Return: 0, or what @fn returned. No pager_deliver() may be under way.
 */
int pager_missing(struct pager *p, pager_missing_fn fn, void *arg);
/** pager_ask_again() - call pager_ops.want for every page that a thread waits for */
void pager_ask_again(struct pager *p);

/**
 * pager_wait() - wait until every page is in place
 * Return: 0; -ETIMEDOUT; the failure that stopped the pager (its userfaultfds then stay open, so
 * that threads wait instead of reading zeros)
 */
int pager_wait(struct pager *p, uint64_t deadline_us, struct err *e);
/** pager_get_stats() - counters as of now */
void pager_get_stats(struct pager *p, struct pager_stats *st);

/**
 * pager_free() - stop the threads, close the userfaultfds. Call it only after pager_wait()
 * returned 0 or the restored processes are dead: closing earlier lets them read zeros.
 */
void pager_free(struct pager *p);
DEFINE_AUTO(pager, pager_free)

#endif
