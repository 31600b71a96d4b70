/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * priv.h - private header of the pager files: address spaces, their missing pages, and the threads
 * that fill them.
 *
 * Threads. The pager's own thread reads every userfaultfd, serves faults, pushes from the store,
 * and is the only one that changes the shape of anything (lists, ranges, families). A helper
 * pushes from the other end; network threads bring pages in pager_deliver(): these two only fill.
 *
 * The rule that keeps content right. A program is held by the kernel in munmap, mremap, madvise
 * and fork until the event about it is read, and until then every UFFDIO_COPY fails with EAGAIN.
 * So a thread that fills looks up the page's state and calls the ioctl under fam->lock held for
 * reading; read(2) of a userfaultfd and the change of state it asks for are one step under
 * fam->lock held for writing. So no fill that was decided on an old state can happen after the
 * program has continued.
 *
 * States are kept by the address that a page had when it was migrated (orig, also its place in the
 * store and its name at the source); ranges say where it is now.
 *
 * What outlives us. Families, spaces, chunks and shapes lie in memory that is shared with the
 * guardian (guard.c), at the same place there, together with struct pbook, from which they are
 * found; the table of descriptors is shared too. A successor (adopt.c) makes new locks, threads,
 * counters and store states, handles events that were read but not handled, and wakes every
 * waiting thread: those whose page is still missing fault again. So a change to shared memory is
 * one store of one word, or can be done twice (event.c); everything else may be lost.
 */
#ifndef HAUL_PAGER_PRIV_H
#define HAUL_PAGER_PRIV_H

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/store/arena.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"

#define PCHUNK_PAGES  512u
#define PIECE_PAGES   32u /* filled at once by the pusher, between two checks for faults */
#define WINDOW_PAGES  64u /* freed in the store at once */
#define FAULTS_RECENT 16u
#define ADDR_END      (1ULL << 47)
#define ADDR_NONE     UINT64_MAX

/* ---- hist.c: times in classes of at most 1/8 width ---- */

#define HIST_SLOTS 256u

struct hist {
	uint64_t n[HIST_SLOTS];
	uint64_t count, max;
};

/** hist_add() - count @value */
void hist_add(struct hist *h, uint64_t value);
/** hist_quantile() - upper end of the class that contains the quantile @per_mille */
uint64_t hist_quantile(const struct hist *h, unsigned int per_mille);
/** hist_count() - number of values in classes that end above @from and not above @to */
uint64_t hist_count(const struct hist *h, uint64_t from, uint64_t to);

/* ---- lag.c: until when is the program slowed down by waiting for pages? ---- */

struct lag {
	uint64_t began_us; /* the program runs since then; 0: not yet */
	uint64_t until_us; /* the last moment at which it was slow; 0: never */
	uint64_t slot,
	        slot_us; /* the last slot of time in which a wait ended, and their sum in it */
	uint64_t waited_us; /* all waits together */
};

/** lag_begin() - the program runs from now on */
void lag_begin(struct lag *l, uint64_t now);
/** lag_note() - a thread has waited for a page, until now */
void lag_note(struct lag *l, uint64_t now, uint64_t waited_us);
/** lag_us() - how long the program was slow, from the beginning; 0: never */
uint64_t lag_us(const struct lag *l);

/* ---- space.c: what is missing in an address space, and where ---- */

enum pstate {
	P_NONE, /* not missing (any more): a fault gets zeros */
	P_LOCAL, /* in the store */
	P_REMOTE, /* at the source */
	P_ASKED, /* at the source, and a thread waits */
};

#define KIND_LOCAL  BIT(P_LOCAL)
#define KIND_ASKED  BIT(P_ASKED)
#define KIND_REMOTE (BIT(P_REMOTE) | BIT(P_ASKED))
#define KIND_ANY    (KIND_LOCAL | KIND_REMOTE)

struct pchunk {
	uint64_t first; /* page number of st[0], a multiple of PCHUNK_PAGES */
	uint32_t local, remote; /* pages in these states; remote includes asked */
	uint8_t st[PCHUNK_PAGES];
};

struct prange {
	uint64_t cur, orig, pages; /* cur, orig: addresses */
};

#define LATE_MAX 64u

/* An unmapping whose event is still to come, and must not affect a later mapping there. */
struct late {
	uint64_t start, end, since_us;
	bool exact; /* the event names this range; else any that overlaps */
};

struct lates {
	unsigned int n;
	struct late v[LATE_MAX];
};

/* Never changed, only replaced. */
struct shape {
	uint64_t stamp; /* of the event that made it */
	struct lates late;
	size_t n_ranges, prune_at;
	struct prange range[]; /* ascending by cur */
};

struct space {
	struct space *next;
	struct family *fam;
	int uffd; /* -1: not received yet, or closed */
	pid_t pid; /* pid given by CRIU; 0: forked after the restore */
	bool gone; /* its memory is gone (ESRCH); atomic */
	bool stuck; /* failed: stays open, nothing is filled, threads wait; atomic */
	bool started; /* has had a userfaultfd: uffd -1 now means closed */
	struct pchunk *chunk; /* ascending; fixed when made */
	size_t n_chunks, cap_chunks;
	struct shape *shape;
	uint64_t local, remote; /* pages in these states */
	size_t push_chunk; /* position of the pusher */
	unsigned int push_page;
	size_t help_chunk; /* the helper has done the chunks from here on */
};

/** space_new() - nothing missing, every page where it was */
struct space *space_new(struct family *f, pid_t pid);
void space_free(struct space *s);
/**
 * space_set() - say which pages are missing: in the store (@local), or at the source (@remote).
 * Return: 0; -errno
 */
int space_set(struct space *s, const struct runs *local, const struct runs *remote, struct err *e);
/** space_clone() - the missing pages of a forked child */
struct space *space_clone(const struct space *s);
/** space_serves() - can anything be filled in it? False before CRIU announced it */
bool space_serves(const struct space *s);
/** space_chunk() - the chunk of the original address @orig; NULL: nothing is missing there */
struct pchunk *space_chunk(const struct space *s, uint64_t orig);
/** space_state() - of the page at the original address @orig; NULL: nothing is missing there */
uint8_t *space_state(const struct space *s, uint64_t orig);
/** space_any() - is a page of @kinds among @pages from @orig on? */
bool space_any(const struct space *s, uint64_t orig, uint64_t pages, unsigned int kinds);
/** space_find_kind() - the first page of @kinds among page numbers [@pg, @end); or @end */
uint64_t space_find_kind(const struct space *s, uint64_t pg, uint64_t end, unsigned int kinds);
/** space_done() - pages are in place or dropped: no longer missing */
void space_done(struct space *s, uint64_t orig, uint64_t pages, unsigned int kinds);
/** space_stash() - a page at the source is now in the store, or known to be zero */
void space_stash(struct space *s, uint64_t orig, enum pstate to);
/** space_missing() - is a page missing in [start, end) of current addresses? */
bool space_missing(const struct space *s, uint64_t start, uint64_t end);
/** space_drop() - [start, end) of current addresses reads as zero from now on */
void space_drop(struct space *s, uint64_t start, uint64_t end);
/** space_drop_all() - the same for the whole address space */
void space_drop_all(struct space *s);
/** space_recount() - compute counters from states; no thread waits any more */
void space_recount(struct space *s);

/* ---- shape.c: where pages are now ---- */

/** shape_new() - @range: mappings, ascending; pages are where they were. NULL: no memory */
struct shape *shape_new(struct pager *p, const struct prange *range, size_t n);
void shape_free(struct pager *p, struct shape *h);
/** shape_put() - replace the shape; @range may be that of the old one */
int shape_put(struct space *s, const struct prange *range, size_t n, const struct lates *late,
              uint64_t stamp);
/** shape_from() - the first range that ends behind @cur */
size_t shape_from(const struct shape *h, uint64_t cur);
/** shape_clip() - the part inside [start, end); pages is 0 when there is none */
struct prange shape_clip(const struct prange *r, uint64_t start, uint64_t end);
/** space_orig() / space_cur() - translate; @pages: how far it holds. Or ADDR_NONE */
uint64_t space_orig(const struct space *s, uint64_t cur);
uint64_t space_cur(const struct space *s, uint64_t orig, uint64_t *pages);
/** shape_lates_note() - @start to @end was unmapped while pages were on their way. @now: us */
void shape_lates_note(struct lates *l, uint64_t start, uint64_t end, bool exact, uint64_t now);
/** shape_lates_take() - the late unmapping that [start, end) is, or the first that it overlaps */
bool shape_lates_take(struct lates *l, uint64_t start, uint64_t end, uint64_t now,
                      struct late *out);

/* ---- family.c: what forks of one migrated process share ---- */

struct waiter {
	const struct space *s;
	uint64_t orig, since_us;
};

struct family {
	struct family *next;
	struct pager *p;
	uint64_t obj;
	struct sobj *so; /* NULL: the store has no page of it, and never will */
	int store_fd; /* of so; or -1 */
	pthread_rwlock_t lock;
	struct space *spaces;
	uint64_t *sweep; /* page numbers of the chunks that the store may hold */
	size_t n_sweep, cap_sweep, swept;
	pthread_mutex_t wait_lock;
	struct waiter *wait; /* faults on remote pages */
	size_t n_wait, cap_wait;
};

/** family_revive() - make new locks and lists in place of those of a dead process */
int family_revive(struct family *f, struct pager *p, struct err *e);
/** family_new() - @create: pages may come into the store although there are none yet */
struct family *family_new(struct pager *p, uint64_t obj, bool create);
void family_free(struct family *f);
/**
 * family_close_uffd() - close it so that a thread that faults there cannot keep us from the CPU
 */
void family_close_uffd(int fd);
/** family_note_chunks() - record the chunks to be freed in the end */
int family_note_chunks(struct family *f, const struct space *s);
/** family_window_free() - is the store's window around @orig no longer needed? */
bool family_window_free(const struct family *f, uint64_t orig);
/** family_window_drop() - free the store's window around @orig */
void family_window_drop(struct family *f, uint64_t orig);
/** family_window_done() - free the store's window around @orig if it is no longer needed */
void family_window_done(struct family *f, uint64_t orig);
/** family_sweep() - free some pages that were never filled. Return: false when all are freed */
bool family_sweep(struct family *f);

/* ---- waiters.c: threads that wait for a page from the source ---- */

/** waiters_add() - a fault at @since_us on page @orig, which was asked for. Return: 0; -ENOMEM */
int waiters_add(struct family *f, const struct space *s, uint64_t orig, uint64_t since_us);
/** waiters_served() - the page @orig is in place: waiting times go to the histogram */
void waiters_served(struct family *f, const struct space *s, uint64_t orig);

/* ---- move.c ---- */

/** space_move() - pages went from @from to @to; the new shape bears @late and @stamp */
int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes,
               const struct lates *late, uint64_t stamp);

/* ---- fill.c: ioctls of userfaultfd and what their errors mean ---- */

/**
 * fill_pages() - put in place every page of @kinds among @pages from @orig on
 * @data: NULL for zeros; fam->lock is held for reading
 * Return: 0 none of them is missing any more; -EAGAIN an event must be read first (then call
 * again); -ESRCH the process is gone; -ENOMEM; other: cannot be filled
 */
int fill_pages(struct space *s, uint64_t orig, size_t pages, const uint8_t *data,
               unsigned int kinds);
/** fill_zero() - for a fault on a page that is not missing. Return: as above */
int fill_zero(struct space *s, uint64_t cur, bool for_write);
/** fill_wake() - wake the threads that wait in [start, end) */
void fill_wake(const struct space *s, uint64_t start, uint64_t end);
/** fill_alive() - false: no process has this memory any more */
bool fill_alive(const struct space *s);

/* ---- event.c: read a userfaultfd ---- */

struct fault {
	struct space *s;
	uint64_t cur, since_us;
	bool for_write;
};

#define INBOX_MSGS 32u

/* Messages that were read but not handled; see event.c. */
struct inbox {
	struct uffd_msg msg[INBOX_MSGS]; /* event 0: struck out */
	bool dropped[INBOX_MSGS];
	struct space *space; /* its sender; NULL: none */
	uint64_t stamp; /* of msg[0] */
};

/** event_replay() - handle the messages that a dead process has left in the inbox */
int event_replay(struct pager *p);
/** event_pump() - read once: events change @s, faults go to p->queue */
int event_pump(struct pager *p, struct space *s);

/* ---- fault.c ---- */

/** fault_new() - queue a fault at the current address @cur. @now: us. Return: 0; -errno */
int fault_new(struct pager *p, struct space *s, uint64_t cur, bool for_write, uint64_t now);
/** fault_serve() - serve the whole queue. Return: true when some faults must wait for an event */
bool fault_serve(struct pager *p);
/** fault_forget() - forget the faults of a space that ends */
void fault_forget(struct pager *p, const struct space *s);

/* ---- push.c: the background ---- */

/** push_begin() - after this, no page enters the store */
void push_begin(struct pager *p);
/** push_step() - fill one piece. Return: false when there is nothing to do */
bool push_step(struct pager *p);
/** push_help_main() - thread: the same from the other end, at a lower priority */
void *push_help_main(void *arg);

/* ---- lazy_socket.c: CRIU's side ---- */

struct lazy_socket {
	int listen_fd, conn_fd, dir_fd;
	uint8_t word[4];
	unsigned int have; /* bytes of word */
	pid_t pid; /* waiting for its userfaultfd */
	unsigned int announced, expected;
	bool ended;
};

/**
 * lazy_socket_open() - listen for CRIU in @dirfd; @procs: how many tasks it will announce.
 * Return: 0; -errno
 */
int lazy_socket_open(struct lazy_socket *k, int dirfd, unsigned int procs, struct err *e);
/** lazy_socket_close() - close it, and the connection of CRIU */
void lazy_socket_close(struct lazy_socket *k);
/** lazy_socket_complete() - has every task been announced? */
bool lazy_socket_complete(const struct lazy_socket *k);
/** lazy_socket_accept() - Return: 1 CRIU has connected; 0 not yet; -errno */
int lazy_socket_accept(struct lazy_socket *k);
/** lazy_socket_read() - take what CRIU announces: a task and its userfaultfd. Return: 0; -errno */
int lazy_socket_read(struct pager *p);

/* ---- the pager itself ---- */

/* The root of the shared data; outlives us if there is a guardian. */
struct pbook {
	struct family *families;
	uint64_t lazy_pages;
	uint64_t abandoned_pages,
	        abandoned_remote_pages; /* missing when their address space was gone */
	struct inbox inbox;
};

/* Moments at which tests kill. */
enum pager_moment { PAT_EVENT_READ, PAT_EVENT_HALF, PAT_FILLED, PAT_N };
extern void (*pager_test_hook)(enum pager_moment m);
static inline void pager_at(enum pager_moment m)
{
	if (__builtin_expect(pager_test_hook != NULL, 0))
		pager_test_hook(m);
}

struct pager {
	struct store *store;
	struct pager_ops ops;
	struct arena_user mem;
	struct pbook *book;
	struct guard *guard;
	struct lazy_socket sock;
	int epoll_fd, kick_fd;
	bool exact_moves; /* the kernel reports the true length of a move */
	pthread_t thread, help_thread;
	bool running, helping;

	/* atomic */
	bool stop, push, pushing, check, help_over;
	int cpu; /* where the pager's thread runs */
	uint64_t left, left_remote, faults, faults_remote, lost_pages;
	unsigned int procs_live;

	/* used by the pager's thread only */
	struct {
		struct fault *v;
		size_t n, cap;
		uint64_t recent[FAULTS_RECENT]; /* addresses of faults, to see locality */
		unsigned int at_recent;
	} queue; /* of faults */
	struct {
		struct space *space;
		uint64_t orig;
		unsigned int pieces;
	} hint; /* fill behind the latest fault first */
	struct space *push_now;
	uint8_t *piece;
	uint64_t probe_at_us, nomem_since_us;
	unsigned int alone; /* probes that found no guardian */
	bool told_alone;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t changed;
	bool done, failed;
	struct err err;
	struct hist hist;
	struct lag lag;
};

/* ---- core.c: what a pager can do by itself ---- */

/** pager_kick() - wake the pager's thread, from any thread */
void pager_kick(struct pager *p);
/** pager_fail() - @s (or NULL) can no longer be served; its threads wait */
void pager_fail(struct pager *p, struct space *s, int code, const char *what);
/** pager_note_time() - a thread has waited @us for its page */
void pager_note_time(struct pager *p, uint64_t us);
/** pager_watch_fd() - the loop gets @tag when @fd can be read. Return: 0; -errno */
int pager_watch_fd(struct pager *p, int fd, void *tag);
/** pager_watch() - serve @s->uffd from now on. Return: 0; -errno */
int pager_watch(struct pager *p, struct space *s);
/**
 * pager_trouble() - handle an error of fill_pages(); pager's thread only
 * Return: 0 nothing more can be done for @s; -EAGAIN try again soon
 */
int pager_trouble(struct pager *p, struct space *s, int r);

/* ---- attach.c ---- */

/** pager_take_uffd() - CRIU announced a task; @fd: taken. Return: 0; -EPROTO; -ENOMEM */
int pager_take_uffd(struct pager *p, pid_t pid, int fd);

/* ---- loop.c ---- */

/** pager_main() - thread: serve until p->stop */
void *pager_main(void *arg);

/* ---- pager.c ---- */

/** pager_blank() - a pager without families; @g may be NULL */
int pager_blank(struct pager **out, struct guard *g, struct store *s, const struct pager_ops *ops,
                struct err *e);
/** pager_threads() - start the threads: faults are served from now on */
int pager_threads(struct pager *p, struct err *e);

#endif
