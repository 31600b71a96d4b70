// SPDX-License-Identifier: GPL-2.0-or-later
/* event.c - read a userfaultfd: events change the address space, faults queue. */
#include "engine/pager/priv.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/pager/pager.h"

/*
 * Reading an event lets the program continue, so from then on the event must not get lost, even if
 * we die: the kernel writes it into book->inbox, memory that outlives us, and we strike it out
 * after acting upon it. Acting twice upon an event has the same result as once: dropping is
 * idempotent, a fork is known by its descriptor, and a shape carries the stamp of the event that
 * made it. (A message is copied as a whole even if we are killed in read(2): the kernel continues
 * until it would return, and the inbox is locked in memory. A fork's descriptor is in the table
 * that we share with the guardian.)
 */

static bool known_uffd(const struct family *f, int fd)
{
	for (const struct space *s = f->spaces; s; s = s->next)
		if (s->uffd == fd)
			return true;
	return false;
}

static int forked(struct pager *p, struct space *s, int fd)
{
	struct space **end = &s->fam->spaces;

	if (known_uffd(s->fam, fd))
		return 0;
	/* without memory for it the descriptor stays open, so that its threads wait */
	struct space *n = space_clone(s);

	if (!n)
		return -ENOMEM;
	n->uffd = fd;
	n->started = true;
	pager_at(PAT_EVENT_HALF);
	while (*end)
		end = &(*end)->next;
	__atomic_store_n(end, n, __ATOMIC_RELEASE);
	return pager_watch(p, n);
}

/*
 * The kernel sends events after releasing the address space, so another thread may reuse the
 * range, and its event may arrive first. Two kinds of unmapping arrive late: the one that ends a
 * move (always sent after the move, when the range may already be in use again), and one whose
 * thread lost the CPU in between.
 */
static int unmapped(struct space *s, uint64_t start, uint64_t end, uint64_t now, uint64_t stamp)
{
	struct lates late = s->shape->late;
	struct late v;
	bool took = false;

	if (s->shape->stamp >= stamp)
		return 0;
	while (start < end && shape_lates_take(&late, start, end, now, &v)) {
		took = true;
		if (v.exact)
			start = end;
		else if (v.start > start)
			space_drop(s, start, v.start);
		if (!v.exact)
			start = v.end;
	}
	if (start < end)
		space_drop(s, start, end);
	pager_at(PAT_EVENT_HALF);
	return took ? shape_put(s, s->shape->range, s->shape->n_ranges, &late, stamp) : 0;
}

static int moved(struct pager *p, struct space *s, const struct uffd_msg *m, bool *dropped,
                 uint64_t now, uint64_t stamp)
{
	uint64_t from = m->arg.remap.from, to = m->arg.remap.to, bytes = m->arg.remap.len;
	struct lates late = s->shape->late;

	if (s->shape->stamp >= stamp)
		return 0;
	/* what was missing at the destination of the move was unmapped; that event follows */
	if (p->exact_moves && (*dropped || space_missing(s, to, to + bytes))) {
		__atomic_store_n(dropped, true, __ATOMIC_RELEASE);
		space_drop(s, to, to + bytes);
		shape_lates_note(&late, to, to + bytes, false, now);
	}
	shape_lates_note(&late, from, from + bytes, true, now);
	return space_move(s, from, to, bytes, &late, stamp);
}

static int apply(struct pager *p, struct inbox *in, unsigned int at, uint64_t now)
{
	const struct uffd_msg *m = &in->msg[at];
	struct space *s = in->space;
	uint64_t stamp = in->stamp + at;
	int r = 0;

	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		r = fault_new(p, s, m->arg.pagefault.address & ~(uint64_t)(PAGE_BYTES - 1),
		              m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE, now);
		break;
	case UFFD_EVENT_FORK:
		r = forked(p, s, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		r = moved(p, s, m, &in->dropped[at], now, stamp);
		fill_wake(s, m->arg.remap.from, m->arg.remap.from + m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		if (m->event == UFFD_EVENT_REMOVE)
			space_drop(s, m->arg.remove.start, m->arg.remove.end);
		else
			r = unmapped(s, m->arg.remove.start, m->arg.remove.end, now, stamp);
		/* threads that waited there get zeros now, or a signal */
		fill_wake(s, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		log_warn("pid %d: unknown userfaultfd event %u", s->pid, m->event);
	}
	return r;
}

/* fam->lock is held for writing. Act upon everything in the inbox that is not struck out */
static int act(struct pager *p, struct inbox *in)
{
	uint64_t now = now_us();
	int r = 0;

	for (unsigned int i = 0; i < INBOX_MSGS; i++) {
		if (!in->msg[i].event)
			continue;
		int one = apply(p, in, i, now);

		r = r < 0 ? r : one;
		in->dropped[i] = false;
		__atomic_store_n(&in->msg[i].event, 0, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&in->space, NULL, __ATOMIC_RELEASE);
	return r;
}

int event_pump(struct pager *p, struct space *s)
{
	struct inbox *in = &p->book->inbox;

	pthread_rwlock_wrlock(&s->fam->lock);
	in->stamp += INBOX_MSGS;
	__atomic_store_n(&in->space, s, __ATOMIC_RELEASE);
	ssize_t n = space_serves(s) ? read(s->uffd, in->msg, sizeof(in->msg)) : 0;
	int bad = n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;

	if (n > 0)
		pager_at(PAT_EVENT_READ);
	int r = act(p, in);

	pthread_rwlock_unlock(&s->fam->lock);
	if (r == 0)
		r = bad;
	if (r < 0)
		pager_fail(p, s, -r, "userfaultfd event");
	return n > 0 ? 1 : 0;
}

int event_replay(struct pager *p)
{
	struct inbox *in = &p->book->inbox;

	return in->space ? act(p, in) : 0;
}
