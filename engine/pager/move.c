// SPDX-License-Identifier: GPL-2.0-or-later
/* move.c - mremap() has moved pages of a space to other addresses. */
#include "engine/pager/priv.h"

#include <errno.h>
#include <stdlib.h>

#include "common/page.h"

static void range_put(struct prange *v, size_t *n, struct prange r)
{
	if (r.pages)
		v[(*n)++] = r;
}

static int range_cmp(const void *a, const void *b)
{
	const struct prange *x = a, *y = b;

	return x->cur < y->cur ? -1 : x->cur > y->cur;
}

/* Forget ranges in which nothing is missing. */
static size_t range_prune(const struct space *s, struct prange *v, size_t n)
{
	size_t kept = 0;

	if (n < s->shape->prune_at)
		return n;
	for (size_t i = 0; i < n; i++)
		if (space_any(s, v[i].orig, v[i].pages, KIND_LOCAL | KIND_REMOTE))
			v[kept++] = v[i];
	return kept;
}

static int shape_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes,
                      const struct lates *late, uint64_t stamp)
{
	const struct shape *h = s->shape;
	uint64_t a = from < to ? from : to, b = from < to ? to : from;
	AUTO(mem) struct prange *v = malloc((4 * h->n_ranges + 1) * sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < h->n_ranges; i++) {
		const struct prange *r = &h->range[i];
		struct prange moved = shape_clip(r, from, from + bytes);

		/* pages that stay: before, between and behind the two ranges */
		range_put(v, &n, shape_clip(r, 0, a));
		range_put(v, &n, shape_clip(r, a + bytes, b));
		range_put(v, &n, shape_clip(r, b + bytes, ADDR_END));
		moved.cur += to - from;
		range_put(v, &n, moved);
	}
	qsort(v, n, sizeof(*v), range_cmp);
	return shape_put(s, v, range_prune(s, v, n), late, stamp);
}

/*
 * Older kernels (pager->exact_moves is false) report the length before the move; an mremap() that
 * moves and shrinks at once therefore names pages that did not move. Behind the real end at the
 * destination lies another mapping: it shows by pages that are missing there, because we know of
 * everything that was unmapped for the move.
 */
static uint64_t move_clamp(const struct space *s, uint64_t to, uint64_t bytes)
{
	const struct shape *h = s->shape;
	uint64_t end = to + bytes;

	for (size_t i = shape_from(h, to); i < h->n_ranges && h->range[i].cur < end; i++) {
		struct prange c = shape_clip(&h->range[i], to, end);
		uint64_t pg = c.orig >> PAGE_BITS;
		uint64_t at = space_find_kind(s, pg, pg + c.pages, KIND_ANY);

		if (at < pg + c.pages)
			return c.cur + ((at - pg) << PAGE_BITS) - to;
	}
	return bytes;
}

int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes,
               const struct lates *late, uint64_t stamp)
{
	uint64_t len = move_clamp(s, to, bytes);

	space_drop(s, from + len, from + bytes);
	pager_at(PAT_EVENT_HALF);
	return shape_move(s, from, to, len, late, stamp);
}
