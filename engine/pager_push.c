// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_push.c - fill what nobody has asked for yet: near the last fault, then in order. */
#include "engine/pager.h"

#include <sched.h>
#include <stdlib.h>

/* Under one lock hold: a fault waits for no more than this. */
#define PIECE_PAGES 32

/* Spread around the last fault before going on in order. */
#define NEAR_PAGES 64

/* The next LOCAL pages at or after the plan's cursor. Return: pages; 0 none left */
static size_t next_planned(struct space *s, uint64_t *cur)
{
	while (s->plan_at < s->plan.n) {
		const struct run *r = &s->plan.v[s->plan_at];

		if (s->plan_page >= r->pages) {
			s->plan_at++;
			s->plan_page = 0;
			continue;
		}
		uint64_t orig = r->vaddr + s->plan_page * ENG_PAGE_BYTES;
		uint64_t left = r->pages - s->plan_page;
		enum lazy st = LAZY_NONE;

		if (!s->moves) {
			size_t n = space_span(s, orig, left, &st);

			if (st == LAZY_LOCAL) {
				*cur = orig;
				return n < PIECE_PAGES ? n : PIECE_PAGES;
			}
			s->plan_page += n;
			continue;
		}
		*cur = space_cur(s, orig);
		if (*cur && space_state(s, *cur) == LAZY_LOCAL)
			return 1;
		s->plan_page++;
	}
	return 0;
}

/* LOCAL pages around the last fault. */
static size_t next_near(struct space *s, uint64_t *cur)
{
	uint64_t from = s->hot & ~(uint64_t)(NEAR_PAGES * ENG_PAGE_BYTES - 1);

	for (uint64_t at = from; s->hot && at < from + NEAR_PAGES * ENG_PAGE_BYTES;) {
		enum lazy st;
		size_t n = space_span(s, at, (from - at) / ENG_PAGE_BYTES + NEAR_PAGES, &st);

		if (st == LAZY_LOCAL) {
			*cur = at;
			return n < PIECE_PAGES ? n : PIECE_PAGES;
		}
		at += n * ENG_PAGE_BYTES;
	}
	s->hot = 0;
	return 0;
}

/* One piece. Return: 1 something was done, 0 nothing left, -errno */
static int push_piece(struct space *s, uint8_t *buf)
{
	uint64_t cur = 0;
	int r = 0;

	while (__atomic_load_n(&s->urgent, __ATOMIC_RELAXED))
		sched_yield();
	pthread_mutex_lock(&s->io);
	if (s->uffd < 0 || s->left_local == 0) {
		pthread_mutex_unlock(&s->io);
		return 0;
	}
	size_t n = next_near(s, &cur);

	if (n == 0)
		n = next_planned(s, &cur);
	if (n == 0 && s->left_local) {
		s->plan_at = s->plan_page = 0; /* moved behind the cursor */
		r = -EAGAIN;
	}
	if (n)
		r = fill_local(s, cur, n, buf);
	if (r == -ESRCH) {
		space_drop_all(s);
		r = 0;
	}
	pthread_mutex_unlock(&s->io);
	if (r == -EAGAIN) {
		sched_yield(); /* the fault thread reads the event */
		return 1;
	}
	return r < 0 ? r : 1;
}

void *push_main(void *arg)
{
	struct pager *p = arg;
	uint8_t *buf = malloc(PIECE_PAGES * ENG_PAGE_BYTES);
	bool work = true;

	while (buf && work && !__atomic_load_n(&p->stop, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&p->failed, __ATOMIC_RELAXED)) {
		work = false;
		for (struct space *s = p->first; s;
		     s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE)) {
			int r;

			while ((r = push_piece(s, buf)) > 0 &&
			       !__atomic_load_n(&p->stop, __ATOMIC_RELAXED))
				work = true;
			if (r < 0) {
				struct err e = ERR_INIT;

				err_set(&e, ERR_SYS, -r, "pager: fill: error %d", -r);
				pager_fail(p, &e);
			}
		}
	}
	free(buf);
	pager_check_done(p);
	return NULL;
}
