// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * order.c - the order in which remaining pages are pushed after the switch-over: first those that the
 * last scan found written, hottest first; then the neighbours of pages that the program waited for; then
 * the others, most recently written first. A page is handed out once.
 */
#include "hauler/pages/order.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "engine/sparse.h"

#define PIECE_PAGES 64u
#define NEIGHBOURS  32u /* pages after a fault that are pushed next */
#define HINTS       32u
#define RANKS       (SENT_HEAT_MAX + 1)

struct piece {
	uint64_t obj, vaddr;
	uint32_t pages;
	unsigned int rank;
};

struct hint {
	uint64_t obj, vaddr, end;
};

struct order {
	pthread_mutex_t lock;
	struct sparse *todo; /* one bit a page */
	struct piece *v;
	size_t n, cap, at;
	size_t n_hot; /* the first pieces: written most recently, pushed before any neighbour */
	struct hint hint[HINTS];
	unsigned int n_hints;
};

static uint64_t *bits_of(struct order *o, uint64_t obj, uint64_t vaddr, bool create)
{
	return sparse_get(o->todo, sent_key(obj, vaddr), create);
}

static size_t index_of(uint64_t vaddr)
{
	return (vaddr % SPARSE_BYTES) >> PAGE_BITS;
}

static int add_piece(struct order *o, const struct piece *p)
{
	uint64_t *bits = bits_of(o, p->obj, p->vaddr, true);
	size_t first = index_of(p->vaddr);

	if (array_grow(&o->v, o->n, &o->cap, sizeof(*o->v)) < 0)
		return -ENOMEM;
	if (!bits)
		return -ENOMEM;
	for (size_t i = first; i < first + p->pages; i++)
		bits[i / 64] |= 1ULL << (i % 64);
	o->v[o->n++] = *p;
	return 0;
}

/* Cut a run into pieces, each of one rank and within one chunk. */
static int add_run(struct order *o, uint64_t obj, const struct class_run *r, const struct sent *s)
{
	uint64_t vaddr = r->vaddr, left = r->pages;
	int x = 0;

	while (x == 0 && left) {
		uint64_t pages = left < PIECE_PAGES ? left : PIECE_PAGES;
		struct piece p = { .obj = obj, .vaddr = vaddr };

		p.rank = sent_heat(s, obj, vaddr, &pages);
		p.pages = (uint32_t)pages;
		x = add_piece(o, &p);
		vaddr += p.pages * PAGE_BYTES;
		left -= p.pages;
	}
	return x;
}

/* Sort by rank, hottest first; the sort is stable, so equal ones stay in order of address. */
static int by_rank(struct order *o)
{
	AUTO(mem) struct piece *sorted = calloc(o->n + 1, sizeof(*sorted));
	AUTO(mem) size_t *at = calloc(RANKS + 1, sizeof(*at));

	if (!sorted || !at)
		return -ENOMEM;
	for (size_t i = 0; i < o->n; i++)
		at[RANKS - o->v[i].rank]++;
	for (size_t r = 1; r <= RANKS; r++)
		at[r] += at[r - 1];
	for (size_t i = 0; i < o->n; i++)
		sorted[at[RANKS - 1 - o->v[i].rank]++] = o->v[i];
	free(o->v);
	o->v = steal(sorted);
	o->cap = o->n + 1;
	unsigned int last = o->n ? SENT_LATE(o->v[0].rank) : 0;

	while (last && o->n_hot < o->n && SENT_LATE(o->v[o->n_hot].rank) == last)
		o->n_hot++;
	return 0;
}

static int fill(struct order *o, const struct left_obj *left, size_t n, const struct sent *s)
{
	int r = 0;

	o->todo = sparse_new(SPARSE_PAGES / 8);
	if (!o->todo)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++)
		for (size_t k = 0; r == 0 && k < left[i].runs.n; k++)
			if (obj_is_task(left[i].obj) && left[i].runs.v[k].class == PC_LAZY_REMOTE)
				r = add_run(o, left[i].obj, &left[i].runs.v[k], s);
	return r ? r : by_rank(o);
}

int order_new(struct order **out, const struct left_obj *left, size_t n, const struct sent *s,
              struct err *e)
{
	struct order *o = calloc(1, sizeof(*o));

	if (!o)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the order of pages");
	pthread_mutex_init(&o->lock, NULL);
	if (fill(o, left, n, s) < 0) {
		order_free(o);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the order of pages");
	}
	*out = o;
	return 0;
}

/* Take the first run of pages in [vaddr, end) that was not handed out yet. */
static uint64_t take(struct order *o, uint64_t obj, uint64_t *vaddr, uint64_t end)
{
	uint64_t at = *vaddr, n = 0;

	for (; at < end; at += PAGE_BYTES) {
		uint64_t *bits = bits_of(o, obj, at, false);
		size_t i = index_of(at);

		if (!bits || !(bits[i / 64] >> (i % 64) & 1)) {
			if (n)
				break;
			continue;
		}
		bits[i / 64] &= ~(1ULL << (i % 64));
		if (n++ == 0)
			*vaddr = at;
	}
	return n;
}

void order_waits(struct order *o, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	uint64_t end = vaddr + pages * PAGE_BYTES;

	pthread_mutex_lock(&o->lock);
	for (uint64_t at = vaddr; at < end; at += PAGE_BYTES)
		take(o, obj, &at, at + PAGE_BYTES); /* the caller answers it: do not push it */
	if (o->n_hints == HINTS) /* the oldest hint is worth least */
		memmove(&o->hint[0], &o->hint[1], --o->n_hints * sizeof(o->hint[0]));
	o->hint[o->n_hints++] = (struct hint){ obj, end, end + (uint64_t)NEIGHBOURS * PAGE_BYTES };
	pthread_mutex_unlock(&o->lock);
}

/* Neighbours of the most recent fault come first. */
static uint64_t next_near(struct order *o, uint64_t *obj, uint64_t *vaddr)
{
	uint64_t pages = 0;

	while (pages == 0 && o->n_hints) {
		struct hint *h = &o->hint[o->n_hints - 1];

		*obj = h->obj;
		*vaddr = h->vaddr;
		pages = take(o, h->obj, vaddr, h->end);
		h->vaddr = *vaddr + pages * PAGE_BYTES;
		if (pages == 0 || h->vaddr >= h->end)
			o->n_hints--;
	}
	return pages;
}

/* In order of rank, up to piece @end. */
static uint64_t next_hot(struct order *o, size_t end, uint64_t *obj, uint64_t *vaddr)
{
	uint64_t pages = 0;

	while (pages == 0 && o->at < end) {
		struct piece *p = &o->v[o->at];

		*obj = p->obj;
		*vaddr = p->vaddr;
		pages = take(o, p->obj, vaddr, p->vaddr + p->pages * PAGE_BYTES);
		if (pages == 0)
			o->at++;
	}
	return pages;
}

bool order_next(struct order *o, uint64_t *obj, uint64_t *vaddr, uint64_t *pages)
{
	pthread_mutex_lock(&o->lock);
	*pages = next_hot(o, o->n_hot, obj, vaddr);
	if (*pages == 0)
		*pages = next_near(o, obj, vaddr);
	if (*pages == 0)
		*pages = next_hot(o, o->n, obj, vaddr);
	pthread_mutex_unlock(&o->lock);
	return *pages > 0;
}

void order_free(struct order *o)
{
	if (!o)
		return;
	sparse_free(o->todo);
	free(o->v);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
