// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * shape.c - where the pages of an address space are now. A shape is replaced as a whole by one
 * store of a pointer, so a death leaves either the old one or the new one.
 */
#include "engine/pager/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "engine/pager/pager.h"

#define PRUNE_MIN 64u /* ranges; fewer cost nothing */
#define LATE_US   1000000u /* an event later than this is not the expected one */

static size_t shape_bytes(size_t n_ranges)
{
	return sizeof(struct shape) + n_ranges * sizeof(struct prange);
}

void shape_free(struct pager *p, struct shape *h)
{
	if (h)
		arena_free(&p->mem, h, shape_bytes(h->n_ranges));
}

struct shape *shape_new(struct pager *p, const struct prange *range, size_t n)
{
	struct shape *h = arena_alloc(&p->mem, shape_bytes(n));

	if (!h)
		return NULL;
	h->n_ranges = n;
	h->prune_at = PRUNE_MIN;
	memcpy(h->range, range, n * sizeof(*range));
	return h;
}

int shape_put(struct space *s, const struct prange *range, size_t n, const struct lates *late,
              uint64_t stamp)
{
	struct shape *was = s->shape, *h = shape_new(s->fam->p, range, n);

	if (!h)
		return -ENOMEM;
	h->prune_at = was->prune_at;
	if (n >= h->prune_at)
		h->prune_at = 2 * n;
	h->late = *late;
	h->stamp = stamp;
	__atomic_store_n(&s->shape, h, __ATOMIC_RELEASE);
	shape_free(s->fam->p, was);
	return 0;
}

/* ---- unmappings that are reported late ---- */

void shape_lates_note(struct lates *l, uint64_t start, uint64_t end, bool exact, uint64_t now)
{
	unsigned int at = l->n;

	if (at == LATE_MAX) {
		at = 0;
		for (unsigned int i = 1; i < LATE_MAX; i++)
			if (l->v[i].since_us < l->v[at].since_us)
				at = i;
	} else {
		l->n++;
	}
	l->v[at] = (struct late){ start, end, now, exact };
}

static bool late_hits(const struct late *v, uint64_t start, uint64_t end)
{
	return v->exact ? v->start == start && v->end == end : v->start < end && start < v->end;
}

bool shape_lates_take(struct lates *l, uint64_t start, uint64_t end, uint64_t now, struct late *out)
{
	unsigned int at = LATE_MAX;

	for (unsigned int i = 0; i < l->n;) {
		const struct late *v = &l->v[i];

		if (now - v->since_us > LATE_US) {
			l->v[i] = l->v[--l->n];
			continue;
		}
		if (late_hits(v, start, end) && (at == LATE_MAX || v->start < l->v[at].start))
			at = i;
		i++;
	}
	if (at == LATE_MAX)
		return false;
	*out = l->v[at];
	l->v[at] = l->v[--l->n];
	return true;
}

/* ---- ranges ---- */

static uint64_t range_end(const struct prange *r)
{
	return r->cur + r->pages * PAGE_BYTES;
}

size_t shape_from(const struct shape *h, uint64_t cur)
{
	size_t lo = 0, hi = h->n_ranges;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (range_end(&h->range[mid]) <= cur)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t space_orig(const struct space *s, uint64_t cur)
{
	const struct shape *h = s->shape;
	size_t i = shape_from(h, cur);

	if (i == h->n_ranges || h->range[i].cur > cur)
		return ADDR_NONE;
	return h->range[i].orig + (cur - h->range[i].cur);
}

uint64_t space_cur(const struct space *s, uint64_t orig, uint64_t *pages)
{
	for (size_t i = 0; i < s->shape->n_ranges; i++) {
		const struct prange *r = &s->shape->range[i];
		uint64_t off = orig - r->orig;

		if (orig < r->orig || off >> PAGE_BITS >= r->pages)
			continue;
		*pages = r->pages - (off >> PAGE_BITS);
		return r->cur + off;
	}
	return ADDR_NONE;
}

struct prange shape_clip(const struct prange *r, uint64_t start, uint64_t end)
{
	uint64_t a = r->cur > start ? r->cur : start, b = range_end(r);

	if (b > end)
		b = end;
	if (a >= b)
		return (struct prange){ 0 };
	return (struct prange){ a, r->orig + (a - r->cur), (b - a) >> PAGE_BITS };
}
