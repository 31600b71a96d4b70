// SPDX-License-Identifier: GPL-2.0-or-later
/* loop.c - the pager's thread: faults first, then a piece of the background. */
#include "engine/pager/priv.h"

#include <string.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"

#define EVENTS       32
#define IDLE_MS      100
#define PROBE_US     200000u
#define ALONE_PROBES 5u
#define PAUSE_NS     20000
#define THREAD_NICE  (-5) /* threads wait for us; at -10 a thread that shares our CPU starves */

/* ---- ends ---- */

/* Close what is complete: then the kernel gives zeros by itself. */
static void close_space(struct pager *p, struct space *s)
{
	struct family *f = s->fam;
	struct space **at = &f->spaces;

	fault_forget(p, s);
	if (p->push_now == s)
		p->push_now = NULL;
	pthread_rwlock_wrlock(&f->lock);
	__atomic_add_fetch(&p->book->abandoned_pages, s->local + s->remote, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->book->abandoned_remote_pages, s->remote, __ATOMIC_RELAXED);
	space_drop_all(s);
	if (s->uffd >= 0) {
		int fd = s->uffd;

		/* someone else may hold a duplicate: closing alone would leave it in epoll */
		epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		/*
		 * clear it first: a successor must not take this number for the file that reuses
		 * it
		 */
		__atomic_store_n(&s->uffd, -1, __ATOMIC_RELEASE);
		family_close_uffd(fd);
		__atomic_sub_fetch(&p->procs_live, 1, __ATOMIC_RELAXED);
	}
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	pthread_rwlock_unlock(&f->lock);
	space_free(s);
}

static bool complete(const struct space *s)
{
	return __atomic_load_n(&s->gone, __ATOMIC_ACQUIRE) ||
	       (__atomic_load_n(&s->local, __ATOMIC_ACQUIRE) == 0 &&
	        __atomic_load_n(&s->remote, __ATOMIC_ACQUIRE) == 0);
}

/* Return: true when @f has no pages left to fill or free */
static bool reap_family(struct pager *p, struct family *f)
{
	for (struct space *s = f->spaces, *next; s; s = next) {
		next = s->next;
		if (s->stuck)
			continue;
		if (!s->started && !complete(s) && lazy_socket_complete(&p->sock))
			pager_fail(p, s, ENOENT, "CRIU gave no userfaultfd for a task");
		else if (complete(s) && (s->started || lazy_socket_complete(&p->sock)))
			close_space(p, s);
	}
	return !f->spaces && f->swept == f->n_sweep;
}

/* Called after every batch of events, so that no event of a batch points to freed memory. */
static void reap(struct pager *p)
{
	bool all = true;

	if (!p->pushing || !__atomic_exchange_n(&p->check, false, __ATOMIC_ACQ_REL))
		return;
	for (struct family *f = p->book->families; f; f = f->next)
		all &= reap_family(p, f);
	if (!all || !lazy_socket_complete(&p->sock) ||
	    !__atomic_load_n(&p->help_over, __ATOMIC_ACQUIRE))
		return;
	if (p->guard)
		guard_complete(p->guard);
	pthread_mutex_lock(&p->lock);
	p->done = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/*
 * Guardians replace each other; only if both die in the same moment is there no process left to
 * fork new ones (we cannot: we have threads, and the child would inherit locks that are held).
 */
static void check_guard(struct pager *p)
{
	if (!p->guard || p->told_alone || !guard_alone(p->guard)) {
		p->alone = 0;
		return;
	}
	if (++p->alone < ALONE_PROBES)
		return;
	p->told_alone = true;
	log_err("pager: both guardians are dead. While pages are missing, the death of pid %d "
	        "would kill the tree",
	        getpid());
}

/* Processes end without an event, so probe them periodically. */
static void probe(struct pager *p)
{
	uint64_t now = now_us();

	if (now < p->probe_at_us)
		return;
	p->probe_at_us = now + PROBE_US;
	check_guard(p);
	for (struct family *f = p->book->families; f; f = f->next)
		for (struct space *s = f->spaces; s; s = s->next)
			if (!s->stuck && !fill_alive(s))
				pager_trouble(p, s, -ESRCH);
}

/* ---- the loop ---- */

static void take_event(struct pager *p, void *tag)
{
	uint64_t drain;
	int r = 0;

	if (tag == &p->kick_fd) {
		ssize_t n = read(p->kick_fd, &drain, sizeof(drain));

		(void)n;
	} else if (tag == &p->sock.listen_fd) {
		r = lazy_socket_accept(&p->sock);
		if (r > 0)
			r = pager_watch_fd(p, p->sock.conn_fd, &p->sock.conn_fd);
	} else if (tag == &p->sock.conn_fd) {
		r = lazy_socket_read(p);
	} else {
		event_pump(p, tag);
	}
	if (r < 0)
		pager_fail(p, NULL, -r, "CRIU's lazy-pages socket");
}

/* A program in fork() or munmap() needs the CPU to continue. */
static void pause_short(void)
{
	struct timespec t = { .tv_nsec = PAUSE_NS };

	nanosleep(&t, NULL);
}

static void loop(struct pager *p)
{
	struct epoll_event ev[EVENTS];
	bool busy = false;

	while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
		int n = epoll_wait(p->epoll_fd, ev, EVENTS, busy ? 0 : IDLE_MS);

		for (int i = 0; i < n; i++)
			take_event(p, ev[i].data.ptr);
		bool again = fault_serve(p);

		if (again && n <= 0)
			pause_short();
		busy = again;
		if (!p->pushing && __atomic_load_n(&p->push, __ATOMIC_ACQUIRE))
			push_begin(p);
		if (n <= 0 && p->pushing)
			busy |= push_step(p);
		else
			busy |= n > 0;
		probe(p);
		reap(p);
	}
}

void *pager_main(void *arg)
{
	struct pager *p = arg;

	prctl(PR_SET_NAME, "haul-pager");
	prctl(PR_SET_TIMERSLACK, 1);
	/* may be refused; then the pager is only slower */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), THREAD_NICE);
	if (pager_watch_fd(p, p->kick_fd, &p->kick_fd) < 0 ||
	    (p->sock.listen_fd >= 0 &&
	     pager_watch_fd(p, p->sock.listen_fd, &p->sock.listen_fd) < 0))
		pager_fail(p, NULL, errno, "epoll");
	loop(p);
	return NULL;
}
