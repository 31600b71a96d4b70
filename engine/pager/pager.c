// SPDX-License-Identifier: GPL-2.0-or-later
/* pager.c - the pager as its callers see it; network threads deliver pages here. */
#include "engine/pager/priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/host/nofile.h"
#include "common/page.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"
#include "engine/runs.h"

#define DELIVER_PAGES    32u /* filled under one hold of the lock, for which an event's reader waits */
#define DELIVER_LIMIT_MS 30000 /* time for a program to finish its own system call */
#define PAUSE_NS         20000

/* ---- life ---- */

/* Since 6.17 the event of mremap() has the length moved, not the length asked for. */
static bool kernel_is_exact(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 17));
}

int pager_blank(struct pager **out, struct guard *g, struct store *s, const struct pager_ops *ops,
                struct err *e)
{
	AUTO(pager) struct pager *p = calloc(1, sizeof(*p));
	pthread_condattr_t a;

	if (!p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the pager");
	p->store = s;
	p->ops = *ops;
	p->guard = g;
	p->mem.arena = g ? guard_arena(g) : NULL;
	p->book = g ? guard_book(g) : calloc(1, sizeof(*p->book));
	p->cpu = -1;
	p->exact_moves = kernel_is_exact();
	p->sock.listen_fd = p->sock.conn_fd = p->sock.dir_fd = -1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &a);
	pthread_condattr_destroy(&a);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->piece = aligned_alloc(PAGE_BYTES, PIECE_PAGES * PAGE_BYTES);
	/* so that the kernel can write an event there even if we die */
	if (g && mlock(&p->book->inbox, sizeof(p->book->inbox)) < 0)
		log_warn("pager: the inbox may be swapped out: %s", strerror(errno));
	if (p->epoll_fd < 0 || p->kick_fd < 0 || !p->piece || !p->book)
		return err_sys(e, "pager");
	*out = steal(p);
	return 0;
}

int pager_new(struct pager **out, struct store *s, const struct pager_ops *ops, struct err *e)
{
	return pager_blank(out, NULL, s, ops, e);
}

int pager_new_guarded(struct pager **out, struct guard *g, struct store *s,
                      const struct pager_ops *ops, struct err *e)
{
	return pager_blank(out, g, s, ops, e);
}

void pager_warm(struct guard *g, uint64_t rss_bytes)
{
	/* twice: pieces of the arena are powers of two */
	arena_warm(guard_arena(g),
	           2 * (rss_bytes / (PCHUNK_PAGES * PAGE_BYTES) + 1) * sizeof(struct pchunk));
}

int pager_add(struct pager *p, pid_t pid, const struct runs *local, const struct runs *remote,
              struct err *e)
{
	struct family *f = family_new(p, obj_of_task(pid), true);

	if (f)
		f->spaces = space_new(f, pid);
	if (!f || !f->spaces) {
		family_free(f);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the pager");
	}
	int r = space_set(f->spaces, local, remote, e);

	if (r == 0 && family_note_chunks(f, f->spaces) < 0)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory for the pager");
	if (r < 0) {
		family_free(f);
		return r;
	}
	p->book->lazy_pages += local->pages + remote->pages;
	p->left += f->spaces->local + f->spaces->remote;
	p->left_remote += f->spaces->remote;
	f->next = p->book->families;
	p->book->families = f;
	return 0;
}

int pager_threads(struct pager *p, struct err *e)
{
	sigset_t all, before;

	nofile_raise(); /* one for each task, and for each that it forks while pages are missing */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&p->thread, NULL, pager_main, p);
	p->running = r == 0;
	/* without it the pager is only slower */
	p->helping = pthread_create(&p->help_thread, NULL, push_help_main, p) == 0;
	if (!p->helping)
		__atomic_store_n(&p->help_over, true, __ATOMIC_RELEASE);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r ? err_set(e, ERR_SYS, r, "thread for the pager: %s", strerror(r)) : 0;
}

int pager_start(struct pager *p, int dirfd, unsigned int procs, struct err *e)
{
	int r = lazy_socket_open(&p->sock, dirfd, procs, e);

	return r < 0 ? r : pager_threads(p, e);
}

int pager_announced(struct pager *p, uint64_t deadline_us, struct err *e)
{
	struct timespec t = { .tv_nsec = PAUSE_NS };

	while (!lazy_socket_complete(&p->sock)) {
		if (now_us() >= deadline_us)
			return err_set(e, ERR_CRIU, ETIMEDOUT,
			               "CRIU has announced %u of %u tasks to the pager",
			               __atomic_load_n(&p->sock.announced, __ATOMIC_RELAXED),
			               p->sock.expected);
		nanosleep(&t, NULL);
	}
	return 0;
}

void pager_push(struct pager *p)
{
	pthread_mutex_lock(&p->lock);
	lag_begin(&p->lag, now_us());
	pthread_mutex_unlock(&p->lock);
	__atomic_store_n(&p->push, true, __ATOMIC_RELEASE);
	__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
	pager_kick(p);
}

int pager_wait(struct pager *p, uint64_t deadline_us, struct err *e)
{
	struct timespec t = { .tv_sec = (time_t)(deadline_us / 1000000),
		              .tv_nsec = (long)(deadline_us % 1000000) * 1000 };
	int r = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->done && !p->failed && r == 0)
		r = deadline_us == DEADLINE_NEVER
		            ? pthread_cond_wait(&p->changed, &p->lock)
		            : pthread_cond_timedwait(&p->changed, &p->lock, &t);
	if (p->failed)
		r = err_set(e, p->err.src, p->err.code, "%s", p->err.msg);
	else if (p->done)
		r = 0;
	else
		r = err_set(e, ERR_SYS, ETIMEDOUT, "pages are still missing");
	pthread_mutex_unlock(&p->lock);
	return r;
}

void pager_get_stats(struct pager *p, struct pager_stats *st)
{
	*st = (struct pager_stats){
		.left_pages = __atomic_load_n(&p->left, __ATOMIC_RELAXED),
		.left_remote_pages = __atomic_load_n(&p->left_remote, __ATOMIC_RELAXED),
		.faults = __atomic_load_n(&p->faults, __ATOMIC_RELAXED),
		.faults_remote = __atomic_load_n(&p->faults_remote, __ATOMIC_RELAXED),
		.procs_live = __atomic_load_n(&p->procs_live, __ATOMIC_RELAXED),
	};
	pthread_mutex_lock(&p->lock);
	st->lazy_pages = p->book->lazy_pages;
	st->abandoned_pages = __atomic_load_n(&p->book->abandoned_pages, __ATOMIC_RELAXED);
	st->abandoned_remote_pages = __atomic_load_n(&p->book->abandoned_remote_pages,
	                                             __ATOMIC_RELAXED);
	st->failed = p->failed;
	st->fault_p50_us = (uint32_t)hist_quantile(&p->hist, 500);
	st->fault_p99_us = (uint32_t)hist_quantile(&p->hist, 990);
	st->fault_max_us = (uint32_t)p->hist.max;
	st->degraded_us = lag_us(&p->lag);
	st->fault_wait_us = p->lag.waited_us;
	for (unsigned int i = 0; i <= PAGER_FAULT_BOUNDS; i++)
		st->fault_n[i] = hist_count(&p->hist, i ? pager_fault_le_us[i - 1] : 0,
		                            i < PAGER_FAULT_BOUNDS ? pager_fault_le_us[i]
		                                                   : UINT64_MAX);
	pthread_mutex_unlock(&p->lock);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pager_kick(p);
	if (p->running)
		pthread_join(p->thread, NULL);
	if (p->helping)
		pthread_join(p->help_thread, NULL);
	lazy_socket_close(&p->sock);
	while (p->book && p->book->families) {
		struct family *f = p->book->families;

		p->book->families = f->next;
		family_free(f);
	}
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	if (p->kick_fd >= 0)
		close(p->kick_fd);
	if (!p->guard)
		free(p->book);
	free(p->queue.v);
	free(p->piece);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- pages from the network ---- */

struct delivery {
	struct pager *p;
	struct family *f;
	uint64_t orig;
	size_t pages;
	const uint8_t *data;
	uint64_t deadline_us;
};

/*
 * The space that can be filled now: before the push only one where a thread waits, because CRIU
 * may not have registered the rest yet.
 */
static struct space *next_to_fill(const struct delivery *d, unsigned int *kinds)
{
	bool push = __atomic_load_n(&d->p->push, __ATOMIC_ACQUIRE);

	*kinds = push ? KIND_REMOTE : KIND_ASKED;
	for (struct space *s = d->f->spaces; s; s = s->next)
		if (space_serves(s) && space_any(s, d->orig, d->pages, *kinds))
			return s;
	return NULL;
}

/* Wait for an event to be read, or for memory. Return: 1 try again; -errno */
static int deliver_wait(const struct delivery *d, int r, struct err *e)
{
	struct timespec t = { .tv_nsec = r == -ENOMEM ? 1000000 : PAUSE_NS };

	if ((r == -EAGAIN || r == -ENOMEM) && now_us() < d->deadline_us &&
	    !__atomic_load_n(&d->p->stop, __ATOMIC_ACQUIRE)) {
		nanosleep(&t, NULL);
		return 1;
	}
	return err_set(e, ERR_SYS, -r, "a page from the source cannot be put in place: %s",
	               strerror(-r));
}

/* fam->lock is held. Return: 1 when @s has ended, which is not an error; else @r */
static int deliver_note(const struct delivery *d, struct space *s, int r)
{
	if (r != -ESRCH)
		return r;
	__atomic_store_n(&s->gone, true, __ATOMIC_RELEASE);
	__atomic_store_n(&d->p->check, true, __ATOMIC_RELEASE);
	pager_kick(d->p);
	return 1;
}

/*
 * Pages that no thread waits for and that cannot be placed yet go to the store. fam->lock is held
 * for writing. Return: 0, or -errno
 */
static int stash(const struct delivery *d, struct err *e)
{
	for (size_t i = 0; i < d->pages; i++) {
		uint64_t orig = d->orig + i * PAGE_BYTES;
		bool wanted = false;

		for (struct space *s = d->f->spaces; s; s = s->next)
			wanted |= space_any(s, orig, 1, BIT(P_REMOTE));
		if (!wanted)
			continue;
		int r = d->data ? store_write(d->f->so, orig, d->data + i * PAGE_BYTES, 1, e) : 0;

		if (r < 0)
			return r;
		for (struct space *s = d->f->spaces; s; s = s->next)
			space_stash(s, orig, d->data ? P_LOCAL : P_NONE);
	}
	return 0;
}

/* A task that misses these pages was not announced yet: only the store can take them. */
static bool waits_for_uffd(const struct delivery *d)
{
	for (const struct space *s = d->f->spaces; s; s = s->next)
		if (!s->started && space_any(s, d->orig, d->pages, KIND_REMOTE))
			return true;
	return false;
}

/* Before the push. Return: 1 call again; 0 all done; -ENOMEM no memory now; other -errno */
static int deliver_early(const struct delivery *d, struct err *e)
{
	unsigned int kinds;

	pthread_rwlock_wrlock(&d->f->lock);
	/* the push, or a thread that waits, may have come while the lock was open */
	bool again = __atomic_load_n(&d->p->push, __ATOMIC_ACQUIRE) || next_to_fill(d, &kinds);
	int r = again ? 1 : stash(d, e);

	pthread_rwlock_unlock(&d->f->lock);
	return r;
}

/* Return: 1 call again; 0 all done; -errno */
static int deliver_step(const struct delivery *d, struct err *e)
{
	unsigned int kinds;

	pthread_rwlock_rdlock(&d->f->lock);
	struct space *s = next_to_fill(d, &kinds);
	int r = s ? fill_pages(s, d->orig, d->pages, d->data, kinds) : 0;
	bool push = kinds == KIND_REMOTE;

	if (r < 0)
		r = deliver_note(d, s, r);
	else if (!s && push && waits_for_uffd(d))
		r = -EAGAIN;
	pthread_rwlock_unlock(&d->f->lock);
	if (r < 0)
		return deliver_wait(d, r, e);
	if (s)
		return 1;
	r = push ? 0 : deliver_early(d, e);
	return r == -ENOMEM ? deliver_wait(d, r, e) : r;
}

int pager_deliver(struct pager *p, uint64_t obj, uint64_t vaddr, size_t pages, const void *data,
                  struct err *e)
{
	struct family *f = __atomic_load_n(&p->book->families, __ATOMIC_ACQUIRE);
	struct delivery d = { .p = p, .deadline_us = deadline_in_ms(DELIVER_LIMIT_MS) };

	if (vaddr % PAGE_BYTES || vaddr >= ADDR_END || pages > (ADDR_END - vaddr) >> PAGE_BITS)
		return err_set(e, ERR_PEER, EINVAL, "page address out of range: %llx, %zu pages",
		               (unsigned long long)vaddr, pages);
	while (f && f->obj != obj)
		f = f->next;
	d.f = f;
	for (size_t done = 0; f && done < pages; done += d.pages) {
		int r = 1;

		d.orig = vaddr + done * PAGE_BYTES;
		d.pages = pages - done < DELIVER_PAGES ? pages - done : DELIVER_PAGES;
		d.data = data ? (const uint8_t *)data + done * PAGE_BYTES : NULL;
		while (r > 0)
			r = deliver_step(&d, e);
		if (r < 0)
			return r;
	}
	return 0;
}
