/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pager.h - what the files of the pager share. */
#ifndef HAUL_PAGER_H
#define HAUL_PAGER_H

#include <pthread.h>

#include "engine/engine.h"
#include "engine/sparse.h"

#define PAGER_EVENTS 64

/* What is still missing at an address of a process. */
enum lazy { LAZY_NONE = 0, LAZY_LOCAL = 1, LAZY_REMOTE = 2, LAZY_WANTED = 3 };

/* Pages that a mremap moved: their content is found @delta further. */
struct move {
	uint64_t cur, pages;
	int64_t delta; /* original address - current address */
	struct move *next; /* older */
};

/*
 * One address space. Everything but uffd_ready is guarded by @io, and so are both
 * reading events of the userfaultfd and filling pages: the kernel lets a discard go
 * on as soon as its event is read, so no fill may be under way then.
 *
 * This, with the store's memfds, is all that a guardian process would have to hold.
 */
struct space {
	struct space *next; /* appended once, never removed before the end */
	struct pager *p;
	pthread_mutex_t io;
	pid_t pid; /* 0: forked after the resume */
	uint64_t obj;
	struct sobj *store;
	int uffd; /* -1: not there yet, or finished */
	bool finished;
	struct sparse *lazy; /* chunk: one byte a page, by current address */
	struct move *moves;
	struct runs plan; /* original addresses of LOCAL pages, for pushing */
	size_t plan_at;
	uint64_t plan_page;
	uint64_t left_local, left_remote;
	uint64_t hot; /* last fault: push near it first */
	unsigned int urgent; /* faults that wait for @io: the pusher steps back */
};

#define HIST_SLOTS 512

struct hist {
	uint64_t count[HIST_SLOTS];
	uint64_t n;
	uint32_t max_us;
};

struct waiting {
	struct space *s;
	uint64_t vaddr, since_us;
};

#define WAITING_MAX 1024

struct pager {
	struct store *store;
	struct pager_ops ops;
	pthread_mutex_t lock; /* list tail, statistics, state below */
	pthread_cond_t done;
	struct space *first, *last;
	int epoll, wake, listen, criu;
	unsigned int expected, announced;
	bool criu_ended, pushing, drained, failed, stop;
	struct err err;
	pthread_t fault_thread, push_thread;
	bool fault_running, push_running;
	uint64_t lazy_pages, faults, faults_remote;
	struct hist hist;
	struct waiting waiting[WAITING_MAX];
	unsigned int n_waiting;
};

/* ---- pager_space.c ---- */

struct space *space_new(struct pager *p, pid_t pid, uint64_t obj);
void space_append(struct space *s);
struct space *space_by_pid(struct pager *p, pid_t pid);
/** space_mark() - initial state of pages */
int space_mark(struct space *s, const struct runs *runs, enum lazy st);
enum lazy space_state(const struct space *s, uint64_t cur);
/** space_span() - pages from @cur on (at most @max) with the same state */
size_t space_span(const struct space *s, uint64_t cur, size_t max, enum lazy *st);
/** space_set() - change state, keep the counts */
void space_set(struct space *s, uint64_t cur, uint64_t pages, enum lazy st);
uint64_t space_orig(const struct space *s, uint64_t cur);
/** space_cur() - where a page now is that was at @orig; 0: nowhere pending */
uint64_t space_cur(const struct space *s, uint64_t orig);
/** space_consume() - pages are in place or gone: free the store's copy if unused */
void space_consume(struct space *s, uint64_t cur, uint64_t pages);
int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes);
struct space *space_fork(struct space *parent, int uffd);
void space_drop_all(struct space *s);
void space_free(struct space *s);

/* ---- pager_fill.c: all with s->io held ---- */

/**
 * fill_pages() - put @pages pages at @cur; NULL: zero pages
 * Return: 0 all done (or no longer wanted); -EAGAIN events must be read first;
 * -ESRCH the process is gone; -errno
 */
int fill_pages(struct space *s, uint64_t cur, const void *data, size_t pages);
/** fill_local() - from the store, @pages pages of state LAZY_LOCAL at @cur */
int fill_local(struct space *s, uint64_t cur, size_t pages, uint8_t *buf);

/* ---- pager_push.c ---- */
void *push_main(void *arg);

/* ---- pager_event.c ---- */
void *fault_main(void *arg);
void pager_fail(struct pager *p, const struct err *why);
/** pager_check_done() - close what is finished; wake pager_wait() at the end */
void pager_check_done(struct pager *p);
void waiting_done(struct pager *p, struct space *s, uint64_t cur, uint64_t pages);

/* ---- hist.c ---- */
void hist_add(struct hist *h, uint64_t us);
uint32_t hist_percentile(const struct hist *h, double share);

#endif
