// SPDX-License-Identifier: GPL-2.0-or-later
/* adopt.c - take over from a pager that died. */
#include "engine/pager/priv.h"

#include <string.h>
#include <sys/ioctl.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"

#define WAKE_FROM 0x10000ULL /* the lowest address that a program may map */

/* ---- taking over ---- */

static bool ours(void *arg, int fd)
{
	const struct pager *p = arg;

	if (fd == p->epoll_fd || fd == p->kick_fd)
		return true;
	for (const struct family *f = p->book->families; f; f = f->next) {
		if (fd == f->store_fd)
			return true;
		for (const struct space *s = f->spaces; s; s = s->next)
			if (fd == s->uffd)
				return true;
	}
	return false;
}

static bool local_somewhere(void *arg, uint64_t vaddr)
{
	const struct family *f = arg;

	for (const struct space *s = f->spaces; s; s = s->next)
		if (space_any(s, vaddr, 1, KIND_LOCAL))
			return true;
	return false;
}

static int revive(struct pager *p, struct err *e)
{
	int r = 0;

	for (struct family *f = p->book->families; r == 0 && f; f = f->next)
		r = family_revive(f, p, e);
	if (r)
		return r;
	if (event_replay(p) < 0)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory for an event");
	return r;
}

static void recount(struct pager *p)
{
	p->left = p->left_remote = 0;
	for (struct family *f = p->book->families; f; f = f->next) {
		for (struct space *s = f->spaces; s; s = s->next) {
			s->stuck = false; /* it may succeed now */
			space_recount(s);
			p->left += s->local + s->remote;
			p->left_remote += s->remote;
		}
		if (f->so)
			store_trim(f->so, local_somewhere, f);
	}
}

/* Threads whose fault was read but not answered sleep: wake all, they fault again. */
static int watch_and_wake(struct pager *p, struct err *e)
{
	struct uffdio_range all = { .start = WAKE_FROM,
		                    .len = ADDR_END - 2 * PAGE_BYTES - WAKE_FROM };

	int r;

	p->procs_live = 0;
	for (struct family *f = p->book->families; f; f = f->next)
		for (struct space *s = f->spaces; s; s = s->next) {
			if (s->uffd < 0)
				continue;
			r = pager_watch(p, s);
			if (r < 0 && r != -EEXIST) /* of an event that was replayed */
				return err_set(e, ERR_SYS, -r, "epoll: %s", strerror(-r));
			if (ioctl(s->uffd, UFFDIO_WAKE, &all) < 0 && errno != ESRCH)
				return err_sys(e, "wake the threads that wait");
		}
	return 0;
}

int pager_adopt(struct pager **out, struct guard *g, struct store *s, const struct pager_ops *ops,
                struct err *e)
{
	struct pager *p = NULL;
	int r = pager_blank(&p, g, s, ops, e);

	if (r < 0)
		return r;
	/* @p is kept on every failure: closing its descriptors would let programs read zeros */
	*out = p;
	p->sock.ended = true; /* CRIU has announced all before the commit */
	r = revive(p, e);
	if (r < 0)
		return r;
	r = guard_close_rest(g, ours, p, e);
	if (r < 0)
		return r;
	recount(p);
	p->push = p->check = true;
	lag_begin(&p->lag, now_us());
	r = watch_and_wake(p, e);
	if (r < 0)
		return r;
	log_warn("pager: taken over; %llu pages are missing, %llu of them at the source",
	         (unsigned long long)p->left, (unsigned long long)p->left_remote);
	return pager_threads(p, e);
}
