// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pager_event.c - the fault thread: CRIU's announcements, faults, and the events
 * that change what is missing.
 *
 * Within one read, events come before faults: a fault at an address that a mremap
 * just made must see the move. Faults that were read while an event still waited in
 * the kernel are safe, because filling answers EAGAIN then.
 */
#include "engine/pager.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"

#define RESTORE_FINISHED 0x52535446u
#define AROUND_PAGES     8
#define WANT_PAGES       1

void pager_fail(struct pager *p, const struct err *why)
{
	pthread_mutex_lock(&p->lock);
	if (!p->failed)
		p->err = *why;
	p->failed = true;
	pthread_cond_broadcast(&p->done);
	pthread_mutex_unlock(&p->lock);
	log_err("pager: %s", why->msg);
}

static bool finished(struct pager *p, struct space *s)
{
	pthread_mutex_lock(&s->io);
	if (!s->finished && s->uffd >= 0 && s->left_local == 0 && s->left_remote == 0) {
		s->finished = true;
		close(steal_fd(&s->uffd)); /* unregisters; whoever waits is woken */
	}
	/* never announced: its pages cannot be asked for */
	if (s->uffd < 0 && p->criu_ended)
		s->finished = true;
	bool r = s->finished;

	pthread_mutex_unlock(&s->io);
	return r;
}

void pager_check_done(struct pager *p)
{
	bool all = p->criu_ended;

	if (!__atomic_load_n(&p->pushing, __ATOMIC_ACQUIRE))
		return;
	for (struct space *s = p->first; s; s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE))
		all &= finished(p, s);
	if (!all)
		return;
	pthread_mutex_lock(&p->lock);
	p->drained = true;
	pthread_cond_broadcast(&p->done);
	pthread_mutex_unlock(&p->lock);
}

/* ---- latency ---- */

static void add_latency(struct pager *p, uint64_t us, bool remote)
{
	pthread_mutex_lock(&p->lock);
	hist_add(&p->hist, us);
	p->faults++;
	p->faults_remote += remote;
	pthread_mutex_unlock(&p->lock);
}

static void waiting_add(struct pager *p, struct space *s, uint64_t vaddr, uint64_t since_us)
{
	pthread_mutex_lock(&p->lock);
	if (p->n_waiting < WAITING_MAX)
		p->waiting[p->n_waiting++] = (struct waiting){ s, vaddr, since_us };
	pthread_mutex_unlock(&p->lock);
}

void waiting_done(struct pager *p, struct space *s, uint64_t cur, uint64_t pages)
{
	if (!__atomic_load_n(&p->n_waiting, __ATOMIC_RELAXED))
		return;
	uint64_t now = now_us();

	pthread_mutex_lock(&p->lock);
	for (unsigned int i = p->n_waiting; i-- > 0;) {
		struct waiting *w = &p->waiting[i];

		if (w->s != s || w->vaddr < cur || w->vaddr >= cur + pages * ENG_PAGE_BYTES)
			continue;
		hist_add(&p->hist, now - w->since_us);
		p->faults++;
		p->faults_remote++;
		*w = p->waiting[--p->n_waiting];
	}
	pthread_mutex_unlock(&p->lock);
}

/* ---- announcements of CRIU ---- */

static int watch(struct pager *p, int fd, void *tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };

	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int take_uffd(struct pager *p, pid_t pid, int fd)
{
	struct space *s = space_by_pid(p, pid);

	if (!s) {
		s = space_new(p, pid, OBJ_TASK(pid));
		if (!s)
			return -ENOMEM;
		space_append(s);
	}
	pthread_mutex_lock(&s->io);
	s->uffd = fd;
	pthread_mutex_unlock(&s->io);
	return watch(p, fd, s);
}

/* The byte with the descriptor follows the pid. */
static int recv_uffd(int sk)
{
	char byte, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr h = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)
	};
	int fd = -1;

	if (recvmsg(sk, &h, MSG_CMSG_CLOEXEC | MSG_WAITALL) <= 0)
		return -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void criu_ended(struct pager *p)
{
	epoll_ctl(p->epoll, EPOLL_CTL_DEL, p->criu, NULL);
	close(steal_fd(&p->criu));
	p->criu_ended = true;
	pager_check_done(p);
}

static void take_announcement(struct pager *p)
{
	int32_t pid = 0;
	ssize_t n = recv(p->criu, &pid, sizeof(pid), MSG_WAITALL);

	if (n != sizeof(pid)) {
		criu_ended(p);
		return;
	}
	if ((uint32_t)pid == RESTORE_FINISHED)
		return;
	p->announced++;
	if (pid < 0)
		return; /* a zombie has no memory */
	int fd = recv_uffd(p->criu);

	if (fd < 0 || take_uffd(p, pid, fd) < 0) {
		struct err e = ERR_INIT;

		err_set(&e, ERR_CRIU, EPROTO, "CRIU announced pid %d without a userfaultfd", pid);
		pager_fail(p, &e);
	}
}

static void take_connection(struct pager *p)
{
	int fd = accept4(p->listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (p->criu >= 0) {
		close(fd);
		return;
	}
	p->criu = fd;
	watch(p, fd, &p->criu);
}

/* ---- events of a process; s->io is held ---- */

static int take_fork(struct space *s, int uffd)
{
	struct space *child = space_fork(s, uffd);

	if (!child) {
		close(uffd);
		return -ENOMEM;
	}
	space_append(child);
	return watch(s->p, uffd, child);
}

static int take_event(struct space *s, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_FORK:
		return take_fork(s, (int)m->arg.fork.ufd);
	case UFFD_EVENT_REMAP:
		return space_move(s, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		space_consume(s, m->arg.remove.start,
		              (m->arg.remove.end - m->arg.remove.start) >> ENG_PAGE_SHIFT);
		return 0;
	default:
		return 0;
	}
}

/* LOCAL neighbours behind a page that was just filled: likely to be next. */
static void fill_around(struct space *s, uint64_t cur, uint8_t *buf)
{
	enum lazy st;
	size_t n = space_span(s, cur + ENG_PAGE_BYTES, AROUND_PAGES, &st);

	if (st == LAZY_LOCAL && n)
		fill_local(s, cur + ENG_PAGE_BYTES, n, buf);
}

/* Return: 0; -EAGAIN read events first; *want: ask the source (after unlocking) */
static int take_fault(struct space *s, uint64_t cur, uint64_t since_us, uint8_t *buf, bool *want)
{
	int r = 0;

	*want = false;
	switch (space_state(s, cur)) {
	case LAZY_LOCAL:
		r = fill_local(s, cur, 1, buf);
		if (r == 0) {
			add_latency(s->p, now_us() - since_us, false);
			s->hot = cur;
			fill_around(s, cur, buf);
		}
		return r;
	case LAZY_NONE:
		return fill_pages(s, cur, NULL, 1);
	case LAZY_REMOTE:
		space_set(s, cur, 1, LAZY_WANTED);
		*want = true;
		waiting_add(s->p, s, cur, since_us);
		return 0;
	default:
		waiting_add(s->p, s, cur, since_us);
		return 0;
	}
}

/* ---- reading ---- */

struct batch {
	struct uffd_msg msg[PAGER_EVENTS];
	uint64_t fault[4 * PAGER_EVENTS]; /* addresses not yet served */
	unsigned int n_faults;
};

/* Reads once; events are applied at once, faults are kept. s->io is held. */
static int read_batch(struct space *s, struct batch *b)
{
	ssize_t n = read(s->uffd, b->msg, sizeof(b->msg));
	int r = 0;

	if (n <= 0)
		return 0;
	for (size_t i = 0; i < (size_t)n / sizeof(b->msg[0]); i++) {
		const struct uffd_msg *m = &b->msg[i];

		if (m->event == UFFD_EVENT_PAGEFAULT)
			b->fault[b->n_faults++] = m->arg.pagefault.address &
			                          ~(uint64_t)(ENG_PAGE_BYTES - 1);
		else if (r == 0)
			r = take_event(s, m);
	}
	return r;
}

static void ask(struct space *s, uint64_t cur)
{
	int r = s->p->ops.want
	                ? s->p->ops.want(s->p->ops.arg, s->obj, space_orig(s, cur), WANT_PAGES)
	                : -ENOTCONN;

	/* the thread goes on waiting: the page may still come with the bulk */
	if (r < 0)
		log_warn("pager: page %llx of pid %d cannot be asked for", (unsigned long long)cur,
		         s->pid);
}

static void broken(struct space *s, int r)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_SYS, -r, "pid %d: %s", s->pid, strerror(-r));
	pager_fail(s->p, &e);
}

static void serve(struct space *s, struct batch *b, uint8_t *buf)
{
	uint64_t since = now_us();

	b->n_faults = 0;
	do {
		bool want = false;

		__atomic_fetch_add(&s->urgent, 1, __ATOMIC_RELAXED);
		pthread_mutex_lock(&s->io);
		__atomic_fetch_sub(&s->urgent, 1, __ATOMIC_RELAXED);
		if (s->uffd < 0) {
			pthread_mutex_unlock(&s->io);
			return;
		}
		int r = b->n_faults <= 3 * PAGER_EVENTS ? read_batch(s, b) : 0;
		uint64_t cur = b->n_faults ? b->fault[b->n_faults - 1] : 0;

		if (r == 0 && b->n_faults)
			r = take_fault(s, cur, since, buf, &want);
		if (r == -ESRCH) {
			space_drop_all(s);
			b->n_faults = 0;
			r = 0;
		} else if (r == 0 && b->n_faults) {
			b->n_faults--;
		}
		pthread_mutex_unlock(&s->io);
		if (want)
			ask(s, cur);
		if (r == -EAGAIN)
			sched_yield();
		else if (r < 0) {
			broken(s, r);
			return;
		}
	} while (b->n_faults);
}

void *fault_main(void *arg)
{
	struct pager *p = arg;
	struct batch *b = malloc(sizeof(*b));
	uint8_t *buf = malloc((AROUND_PAGES + 1) * ENG_PAGE_BYTES);
	struct epoll_event ev[16];

	while (b && buf && !__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
		int n = epoll_wait(p->epoll, ev, ARRAY_SIZE(ev), -1);

		for (int i = 0; i < n; i++) {
			void *tag = ev[i].data.ptr;

			if (tag == &p->listen)
				take_connection(p);
			else if (tag == &p->criu)
				take_announcement(p);
			else if (tag == &p->wake) {
				uint64_t x;
				ssize_t r = read(p->wake, &x, sizeof(x));

				(void)r;
			} else
				serve(tag, b, buf);
		}
		pager_check_done(p);
	}
	free(b);
	free(buf);
	return NULL;
}
