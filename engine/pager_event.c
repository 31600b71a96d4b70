// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_event.c - read a userfaultfd: events change the address space, faults queue. */
#include "engine/pager.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

#define MSGS    32
#define LATE_US 1000000u /* what is late comes soon, or it is no longer meant */

static int forked(struct pager *p, struct space *s, int fd)
{
	struct space *n = space_clone(s);
	struct space **end = &s->fam->spaces;

	/* without memory for it the descriptor stays open, so that its threads wait */
	if (!n)
		return -ENOMEM;
	n->uffd = fd;
	n->started = true;
	while (*end)
		end = &(*end)->next;
	*end = n;
	return pager_watch(p, n);
}

/*
 * Events are sent after the kernel has let go of the address space, so another thread
 * may use the place, and tell of that first. Two kinds of unmapping come late: the one
 * that ends a move (always told after the move, when the place may be taken again),
 * and one whose thread lost the CPU in between.
 */
static void note_late(struct space *s, uint64_t start, uint64_t end, bool exact, uint64_t now)
{
	unsigned int at = s->n_late;

	if (at == LATE_MAX) {
		at = 0;
		for (unsigned int i = 1; i < LATE_MAX; i++)
			if (s->late[i].since_us < s->late[at].since_us)
				at = i;
	} else {
		s->n_late++;
	}
	s->late[at] = (struct late){ start, end, now, exact };
}

static bool late_hits(const struct late *v, uint64_t start, uint64_t end)
{
	return v->exact ? v->start == start && v->end == end : v->start < end && start < v->end;
}

/* The late unmapping that [start, end) is, or the first that it overlaps. False: none */
static bool take_late(struct space *s, uint64_t start, uint64_t end, uint64_t now, struct late *out)
{
	unsigned int at = LATE_MAX;

	for (unsigned int i = 0; i < s->n_late;) {
		const struct late *v = &s->late[i];

		if (now - v->since_us > LATE_US) {
			s->late[i] = s->late[--s->n_late];
			continue;
		}
		if (late_hits(v, start, end) && (at == LATE_MAX || v->start < s->late[at].start))
			at = i;
		i++;
	}
	if (at == LATE_MAX)
		return false;
	*out = s->late[at];
	s->late[at] = s->late[--s->n_late];
	return true;
}

static void unmapped(struct space *s, uint64_t start, uint64_t end, uint64_t now)
{
	struct late v;

	while (start < end && take_late(s, start, end, now, &v)) {
		if (v.exact)
			return;
		if (v.start > start)
			space_drop(s, start, v.start);
		start = v.end;
	}
	if (start < end)
		space_drop(s, start, end);
}

static int moved(struct pager *p, struct space *s, uint64_t from, uint64_t to, uint64_t bytes,
                 uint64_t now)
{
	/* whatever misses at the destination was unmapped, and we shall hear of it */
	if (p->exact_moves && space_missing(s, to, to + bytes)) {
		space_drop(s, to, to + bytes);
		note_late(s, to, to + bytes, false, now);
	}
	note_late(s, from, from + bytes, true, now);
	return space_move(s, from, to, bytes);
}

static int apply(struct pager *p, struct space *s, const struct uffd_msg *m, uint64_t now)
{
	int r = 0;

	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		r = fault_new(p, s, m->arg.pagefault.address & ~(uint64_t)(ENG_PAGE_BYTES - 1),
		              m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE, now);
		break;
	case UFFD_EVENT_FORK:
		r = forked(p, s, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		r = moved(p, s, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len, now);
		fill_wake(s, m->arg.remap.from, m->arg.remap.from + m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		if (m->event == UFFD_EVENT_REMOVE)
			space_drop(s, m->arg.remove.start, m->arg.remove.end);
		else
			unmapped(s, m->arg.remove.start, m->arg.remove.end, now);
		/* who waited there gets zeros now, or a signal */
		fill_wake(s, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		log_warn("pid %d: unknown userfaultfd event %u", s->pid, m->event);
	}
	return r;
}

int event_pump(struct pager *p, struct space *s)
{
	struct uffd_msg m[MSGS];
	int r = 0;

	pthread_rwlock_wrlock(&s->fam->lock);
	ssize_t n = space_serves(s) ? read(s->uffd, m, sizeof(m)) : 0;
	uint64_t now = now_us();

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		r = -errno;
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(m[0]); i++) {
		int one = apply(p, s, &m[i], now);

		r = r < 0 ? r : one;
	}
	pthread_rwlock_unlock(&s->fam->lock);
	if (r < 0)
		pager_fail(p, s, -r, "userfaultfd event");
	return n > 0 ? 1 : 0;
}
