// SPDX-License-Identifier: GPL-2.0-or-later
/* pager.c - the pager's life: made, told what is lazy, started, pushed, waited for. */
#include "engine/pager.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/clock.h"

int pager_new(struct pager **out, struct store *s, const struct pager_ops *ops, struct err *e)
{
	AUTO(pager) struct pager *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;

	if (!p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the pager");
	p->store = s;
	p->ops = *ops;
	p->listen = p->criu = -1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->done, &attr);
	pthread_condattr_destroy(&attr);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->epoll < 0 || p->wake < 0)
		return err_sys(e, "descriptors for the pager");
	*out = steal(p);
	return 0;
}

int pager_add(struct pager *p, pid_t pid, const struct runs *local, const struct runs *remote,
              struct err *e)
{
	struct space *s = space_new(p, pid, OBJ_TASK(pid));
	int r = s ? space_mark(s, local, LAZY_LOCAL) : -ENOMEM;

	if (r == 0)
		r = space_mark(s, remote, LAZY_REMOTE);
	for (size_t i = 0; r == 0 && i < local->n; i++)
		r = runs_add(&s->plan, local->v[i].vaddr, local->v[i].pages);
	if (r < 0) {
		space_free(s);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the pager");
	}
	p->lazy_pages += local->pages + remote->pages;
	space_append(s);
	return 0;
}

static int add_watch(struct pager *p, int fd, void *tag, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };

	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? err_sys(e, "epoll") : 0;
}

int pager_start(struct pager *p, int dirfd, unsigned int procs, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	p->expected = procs;
	p->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/lazy-pages.socket", dirfd);
	if (p->listen < 0 || bind(p->listen, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(p->listen, 4) < 0)
		return err_sys(e, "socket for CRIU's lazy restore");
	int r = add_watch(p, p->listen, &p->listen, e);

	if (r == 0)
		r = add_watch(p, p->wake, &p->wake, e);
	if (r < 0)
		return r;
	r = pthread_create(&p->fault_thread, NULL, fault_main, p);
	p->fault_running = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for faults") : 0;
}

static void poke(struct pager *p)
{
	uint64_t one = 1;
	ssize_t n = write(p->wake, &one, sizeof(one));

	(void)n;
}

void pager_push(struct pager *p)
{
	if (p->push_running)
		return;
	__atomic_store_n(&p->pushing, true, __ATOMIC_RELEASE);
	/* without the thread pages still come on demand */
	p->push_running = pthread_create(&p->push_thread, NULL, push_main, p) == 0;
	poke(p);
}

/* Pages of one space that wait for the source, from @at on. Return: pages looked at */
static size_t deliver_some(struct space *s, uint64_t orig, size_t pages, const uint8_t *data,
                           int *err)
{
	enum lazy st = LAZY_NONE;
	uint64_t cur = s->moves ? space_cur(s, orig) : orig;
	size_t n = s->moves ? 1 : space_span(s, cur, pages, &st);

	if (s->moves && cur)
		st = space_state(s, cur);
	if (st == LAZY_REMOTE || st == LAZY_WANTED)
		*err = fill_pages(s, cur, data, n);
	return n;
}

static int deliver(struct space *s, uint64_t orig, size_t pages, const uint8_t *data)
{
	while (pages) {
		int r = 0;

		pthread_mutex_lock(&s->io);
		if (s->uffd < 0) {
			pthread_mutex_unlock(&s->io);
			return 0;
		}
		size_t n = deliver_some(s, orig, pages, data, &r);

		if (r == -ESRCH)
			space_drop_all(s);
		pthread_mutex_unlock(&s->io);
		if (r == -EAGAIN) {
			usleep(20); /* the fault thread reads the event; look again */
			continue;
		}
		if (r == -ESRCH)
			return 0;
		if (r < 0)
			return r;
		orig += n * ENG_PAGE_BYTES;
		pages -= n;
		if (data)
			data += n * ENG_PAGE_BYTES;
	}
	return 0;
}

int pager_deliver(struct pager *p, uint64_t obj, uint64_t vaddr, size_t pages, const void *data,
                  struct err *e)
{
	for (struct space *s = p->first; s; s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE)) {
		if (s->obj != obj)
			continue;
		int r = deliver(s, vaddr, pages, data);

		if (r < 0)
			return err_set(e, ERR_SYS, -r, "page %llx of pid %d: %s",
			               (unsigned long long)vaddr, s->pid, strerror(-r));
		if (s->left_remote == 0 && s->left_local == 0)
			poke(p);
	}
	return 0;
}

int pager_wait(struct pager *p, uint64_t deadline_us, struct err *e)
{
	struct timespec until = { (time_t)(deadline_us / 1000000),
		                  (long)(deadline_us % 1000000) * 1000 };
	int r = 0;

	pthread_mutex_lock(&p->lock);
	while (r == 0 && !p->drained && !p->failed) {
		if (deadline_us == DEADLINE_NEVER)
			pthread_cond_wait(&p->done, &p->lock);
		else if (pthread_cond_timedwait(&p->done, &p->lock, &until) == ETIMEDOUT)
			r = -ETIMEDOUT;
	}
	if (p->failed) {
		if (e)
			*e = p->err;
		r = -p->err.code;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

void pager_get_stats(struct pager *p, struct pager_stats *st)
{
	memset(st, 0, sizeof(*st));
	for (struct space *s = p->first; s; s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE)) {
		st->left_pages += s->left_local + s->left_remote;
		st->left_remote_pages += s->left_remote;
		st->procs_live += s->uffd >= 0;
	}
	pthread_mutex_lock(&p->lock);
	st->lazy_pages = p->lazy_pages;
	st->faults = p->faults;
	st->faults_remote = p->faults_remote;
	st->fault_p50_us = hist_percentile(&p->hist, 0.5);
	st->fault_p99_us = hist_percentile(&p->hist, 0.99);
	st->fault_max_us = p->hist.max_us;
	st->failed = p->failed;
	pthread_mutex_unlock(&p->lock);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	__atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
	poke(p);
	if (p->push_running)
		pthread_join(p->push_thread, NULL);
	if (p->fault_running)
		pthread_join(p->fault_thread, NULL);
	for (struct space *s = p->first, *next; s; s = next) {
		next = s->next;
		space_free(s);
	}
	if (p->listen >= 0)
		close(p->listen);
	if (p->criu >= 0)
		close(p->criu);
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->wake >= 0)
		close(p->wake);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
