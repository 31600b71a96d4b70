// SPDX-License-Identifier: GPL-2.0-or-later
/* core.c - what a pager can do by itself: wake up, watch a descriptor, note an error. */
#include "engine/pager/priv.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"

#define NOMEM_TELL_US 5000000u

void (*pager_test_hook)(enum pager_moment m);

void pager_kick(struct pager *p)
{
	uint64_t one = 1;
	ssize_t n = write(p->kick_fd, &one, sizeof(one));

	(void)n;
}

void pager_fail(struct pager *p, struct space *s, int code, const char *what)
{
	if (s)
		__atomic_store_n(&s->stuck, true, __ATOMIC_RELEASE);
	if (s && s->uffd >= 0)
		epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, s->uffd, NULL);
	log_err("pager: %s, pid %d: %s", what, s ? s->pid : 0, strerror(code));
	pthread_mutex_lock(&p->lock);
	p->failed = true;
	err_set(&p->err, ERR_SYS, code, "%s, pid %d: %s", what, s ? s->pid : 0, strerror(code));
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void pager_note_time(struct pager *p, uint64_t us)
{
	pthread_mutex_lock(&p->lock);
	hist_add(&p->hist, us);
	lag_note(&p->lag, now_us(), us);
	pthread_mutex_unlock(&p->lock);
}

int pager_watch_fd(struct pager *p, int fd, void *tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };

	return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int pager_watch(struct pager *p, struct space *s)
{
	__atomic_add_fetch(&p->procs_live, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
	return pager_watch_fd(p, s->uffd, s);
}

int pager_trouble(struct pager *p, struct space *s, int r)
{
	uint64_t now;

	switch (r) {
	case -EAGAIN:
		return r;
	case -ESRCH:
		__atomic_store_n(&s->gone, true, __ATOMIC_RELEASE);
		__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
		return 0;
	case -ENOMEM:
		now = now_us();
		if (!p->nomem_since_us)
			p->nomem_since_us = now;
		if (now - p->nomem_since_us > NOMEM_TELL_US) {
			log_err("pid %d: no memory for its pages: it waits for them", s->pid);
			p->nomem_since_us = now;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		return -EAGAIN;
	default:
		pager_fail(p, s, -r, "a page cannot be put in place");
		return 0;
	}
}
