// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_event.c - read a userfaultfd: events change the address space, faults queue. */
#include "engine/pager.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

#define MSGS       32
#define VACATED_US 1000000u /* the unmapping of a move comes at once, or not at all */

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

static int moved(struct space *s, uint64_t from, uint64_t to, uint64_t bytes, uint64_t now)
{
	if (s->n_vacated == VACATED_MAX)
		s->n_vacated = 0;
	s->vacated[s->n_vacated++] = (struct vacated){ from, from + bytes, now };
	return space_move(s, from, to, bytes);
}

/*
 * A move ends with an event that its old place was unmapped. That comes late: another
 * thread may have moved something to this place before, and has told us so. Nothing
 * of what the event means is there any more, so nothing may be dropped.
 */
static bool of_a_move(struct space *s, uint64_t start, uint64_t end, uint64_t now)
{
	for (unsigned int i = 0; i < s->n_vacated; i++) {
		struct vacated v = s->vacated[i];

		if (v.start != start || v.end != end)
			continue;
		s->vacated[i] = s->vacated[--s->n_vacated];
		return now - v.since_us < VACATED_US;
	}
	return false;
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
		r = moved(s, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len, now);
		fill_wake(s, m->arg.remap.from, m->arg.remap.from + m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		if (m->event == UFFD_EVENT_REMOVE ||
		    !of_a_move(s, m->arg.remove.start, m->arg.remove.end, now))
			space_drop(s, m->arg.remove.start, m->arg.remove.end);
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
