// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_space.c - which pages of an address space are missing, and where they go. */
#include "engine/pager.h"

#include <stdlib.h>
#include <string.h>

#define PRUNE_MIN 64u /* ranges; below nobody notices them */
#define ANY_KIND  (KIND_LOCAL | KIND_REMOTE)

struct space *space_new(struct family *f, pid_t pid)
{
	struct space *s = calloc(1, sizeof(*s));
	struct prange *r = malloc(sizeof(*r));

	if (!s || !r) {
		free(s);
		free(r);
		return NULL;
	}
	*r = (struct prange){ 0, 0, ADDR_END >> ENG_PAGE_SHIFT };
	s->fam = f;
	s->uffd = -1;
	s->pid = pid;
	s->range = r;
	s->n_ranges = 1;
	s->prune_at = PRUNE_MIN;
	return s;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	free(s->chunk);
	free(s->range);
	free(s);
}

bool space_serves(const struct space *s)
{
	return s->uffd >= 0 && !__atomic_load_n(&s->gone, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&s->stuck, __ATOMIC_ACQUIRE);
}

/* ---- making the set ---- */

static struct pchunk *chunk_for(struct space *s, size_t *cap, uint64_t first)
{
	if (s->n_chunks && s->chunk[s->n_chunks - 1].first == first)
		return &s->chunk[s->n_chunks - 1];
	if (s->n_chunks == *cap) {
		size_t more = *cap ? 2 * *cap : 16;
		struct pchunk *c = realloc(s->chunk, more * sizeof(*c));

		if (!c)
			return NULL;
		s->chunk = c;
		*cap = more;
	}
	struct pchunk *c = &s->chunk[s->n_chunks++];

	memset(c, 0, sizeof(*c));
	c->first = first;
	return c;
}

static int set_run(struct space *s, size_t *cap, uint64_t vaddr, uint64_t pages, enum pstate st)
{
	uint64_t pg = vaddr >> ENG_PAGE_SHIFT, end = pg + pages;

	while (pg < end) {
		uint64_t first = pg & ~(uint64_t)(PCHUNK_PAGES - 1);
		uint64_t n = first + PCHUNK_PAGES < end ? first + PCHUNK_PAGES - pg : end - pg;
		struct pchunk *c = chunk_for(s, cap, first);

		if (!c)
			return -ENOMEM;
		memset(&c->st[pg - first], st, n);
		*(st == P_LOCAL ? &c->local : &c->remote) += (uint32_t)n;
		*(st == P_LOCAL ? &s->local : &s->remote) += n;
		pg += n;
	}
	return 0;
}

/* Only data is missing: a page that is zero needs nothing but its fault. */
static int set_local(struct space *s, size_t *cap, const struct run *run, struct err *e)
{
	enum page_state st = PAGE_ABSENT;

	for (uint64_t done = 0; done < run->pages;) {
		uint64_t vaddr = run->vaddr + done * ENG_PAGE_BYTES;
		size_t n = s->fam->so ? sobj_span(s->fam->so, vaddr, run->pages - done, &st) : 0;

		if (n == 0 || st == PAGE_ABSENT)
			return err_set(e, ERR_BUG, ENODATA, "page %llx of pid %d is not stored",
			               (unsigned long long)vaddr, s->pid);
		if (st == PAGE_DATA && set_run(s, cap, vaddr, n, P_LOCAL) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page states");
		done += n;
	}
	return 0;
}

static bool run_ok(const struct run *r, uint64_t at)
{
	return r->vaddr % ENG_PAGE_BYTES == 0 && r->vaddr >= at && r->vaddr < ADDR_END &&
	       r->pages <= (ADDR_END - r->vaddr) >> ENG_PAGE_SHIFT;
}

int space_set(struct space *s, const struct runs *local, const struct runs *remote, struct err *e)
{
	size_t cap = 0, i = 0, k = 0;
	uint64_t at = 0;

	while (i < local->n || k < remote->n) {
		bool here = k == remote->n ||
		            (i < local->n && local->v[i].vaddr < remote->v[k].vaddr);
		const struct run *run = here ? &local->v[i++] : &remote->v[k++];
		int r = 0;

		if (!run_ok(run, at))
			return err_set(e, ERR_BUG, EINVAL, "page runs of pid %d are not in order",
			               s->pid);
		at = run->vaddr + run->pages * ENG_PAGE_BYTES;
		if (here)
			r = set_local(s, &cap, run, e);
		else if (set_run(s, &cap, run->vaddr, run->pages, P_REMOTE) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for page states");
		if (r < 0)
			return r;
	}
	s->help_chunk = s->n_chunks;
	return 0;
}

struct space *space_clone(const struct space *s)
{
	struct space *n = space_new(s->fam, 0);
	struct prange *r = malloc(s->n_ranges * sizeof(*r) + 1);
	struct pchunk *c = malloc(s->n_chunks * sizeof(*c) + 1);

	if (!n || !r || !c) {
		space_free(n);
		free(r);
		free(c);
		return NULL;
	}
	free(n->range);
	n->range = r;
	n->n_ranges = s->n_ranges;
	for (size_t i = 0; i < s->n_ranges; i++)
		r[i] = s->range[i];
	n->chunk = c;
	for (size_t i = 0; i < s->n_chunks; i++)
		if (s->chunk[i].local || s->chunk[i].remote)
			c[n->n_chunks++] = s->chunk[i];
	n->help_chunk = n->n_chunks;
	n->local = s->local;
	n->remote = s->remote;
	__atomic_add_fetch(&s->fam->p->left, n->local + n->remote, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->fam->p->left_remote, n->remote, __ATOMIC_RELAXED);
	return n;
}

/* ---- states ---- */

/* The first chunk that ends behind page number @pg; n_chunks if none. */
static size_t chunk_from(const struct space *s, uint64_t pg)
{
	size_t lo = 0, hi = s->n_chunks;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->chunk[mid].first + PCHUNK_PAGES <= pg)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct pchunk *space_chunk(const struct space *s, uint64_t orig)
{
	uint64_t pg = orig >> ENG_PAGE_SHIFT;
	size_t i = chunk_from(s, pg);

	return i < s->n_chunks && s->chunk[i].first <= pg ? &s->chunk[i] : NULL;
}

uint8_t *space_state(const struct space *s, uint64_t orig)
{
	struct pchunk *c = space_chunk(s, orig);

	return c ? &c->st[(orig >> ENG_PAGE_SHIFT) - c->first] : NULL;
}

/* From chunk @i on, the next that misses something and begins before @end; or n_chunks */
static size_t chunk_next(const struct space *s, size_t i, uint64_t end)
{
	for (; i < s->n_chunks && s->chunk[i].first < end; i++)
		if (__atomic_load_n(&s->chunk[i].local, __ATOMIC_RELAXED) ||
		    __atomic_load_n(&s->chunk[i].remote, __ATOMIC_RELAXED))
			return i;
	return s->n_chunks;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Return: the first page number in [pg, end) in one of @kinds, or @end */
static uint64_t find_kind(const struct space *s, uint64_t pg, uint64_t end, unsigned int kinds)
{
	for (size_t i = chunk_next(s, chunk_from(s, pg), end); i < s->n_chunks;
	     i = chunk_next(s, i + 1, end)) {
		const struct pchunk *c = &s->chunk[i];
		uint64_t to = min_u64(c->first + PCHUNK_PAGES, end);

		for (uint64_t at = max_u64(pg, c->first); at < to; at++)
			if (BIT(__atomic_load_n(&c->st[at - c->first], __ATOMIC_RELAXED)) & kinds)
				return at;
	}
	return end;
}

bool space_any(const struct space *s, uint64_t orig, uint64_t pages, unsigned int kinds)
{
	uint64_t pg = orig >> ENG_PAGE_SHIFT;

	return find_kind(s, pg, pg + pages, kinds) < pg + pages;
}

static void count_done(struct space *s, uint64_t local, uint64_t remote)
{
	struct pager *p = s->fam->p;
	bool end = false;

	__atomic_sub_fetch(&p->left, local + remote, __ATOMIC_RELAXED);
	if (remote) {
		__atomic_sub_fetch(&p->left_remote, remote, __ATOMIC_RELAXED);
		end |= __atomic_sub_fetch(&s->remote, remote, __ATOMIC_ACQ_REL) == 0;
	}
	if (local)
		end |= __atomic_sub_fetch(&s->local, local, __ATOMIC_ACQ_REL) == 0;
	if (end) {
		__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
		pager_kick(p);
	}
}

static void chunk_done(struct space *s, struct pchunk *c, uint64_t from, uint64_t to,
                       unsigned int kinds)
{
	uint32_t count[4] = { 0 };

	for (uint64_t i = from; i < to; i++) {
		uint8_t st = __atomic_load_n(&c->st[i], __ATOMIC_ACQUIRE);

		while ((BIT(st) & kinds) &&
		       !__atomic_compare_exchange_n(&c->st[i], &st, P_NONE, false, __ATOMIC_ACQ_REL,
		                                    __ATOMIC_ACQUIRE))
			;
		if (!(BIT(st) & kinds))
			continue;
		count[st]++;
		if (st == P_ASKED)
			family_served(s->fam, s, (c->first + i) << ENG_PAGE_SHIFT);
	}
	uint32_t remote = count[P_REMOTE] + count[P_ASKED];

	if (count[P_LOCAL])
		__atomic_sub_fetch(&c->local, count[P_LOCAL], __ATOMIC_RELAXED);
	if (remote)
		__atomic_sub_fetch(&c->remote, remote, __ATOMIC_RELAXED);
	if (count[P_LOCAL] || remote)
		count_done(s, count[P_LOCAL], remote);
}

void space_done(struct space *s, uint64_t orig, uint64_t pages, unsigned int kinds)
{
	uint64_t pg = orig >> ENG_PAGE_SHIFT, end = pg + pages;

	for (size_t i = chunk_next(s, chunk_from(s, pg), end); i < s->n_chunks;
	     i = chunk_next(s, i + 1, end)) {
		struct pchunk *c = &s->chunk[i];

		chunk_done(s, c, max_u64(pg, c->first) - c->first,
		           min_u64(c->first + PCHUNK_PAGES, end) - c->first, kinds);
	}
}

void space_stash(struct space *s, uint64_t orig, enum pstate to)
{
	struct pchunk *c = space_chunk(s, orig);
	uint8_t *st = space_state(s, orig);

	if (!st || __atomic_load_n(st, __ATOMIC_ACQUIRE) != P_REMOTE)
		return;
	if (to == P_NONE) {
		space_done(s, orig, 1, BIT(P_REMOTE));
		return;
	}
	__atomic_store_n(st, (uint8_t)to, __ATOMIC_RELEASE);
	__atomic_add_fetch(&c->local, 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&c->remote, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->local, 1, __ATOMIC_RELEASE);
	__atomic_sub_fetch(&s->remote, 1, __ATOMIC_RELEASE);
	__atomic_sub_fetch(&s->fam->p->left_remote, 1, __ATOMIC_RELAXED);
}

void space_drop_all(struct space *s)
{
	space_done(s, 0, ADDR_END >> ENG_PAGE_SHIFT, ANY_KIND);
}

/* ---- where pages are ---- */

static uint64_t range_end(const struct prange *r)
{
	return r->cur + r->pages * ENG_PAGE_BYTES;
}

/* The first range that ends behind @cur. */
static size_t range_from(const struct space *s, uint64_t cur)
{
	size_t lo = 0, hi = s->n_ranges;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (range_end(&s->range[mid]) <= cur)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t space_orig(const struct space *s, uint64_t cur)
{
	size_t i = range_from(s, cur);

	if (i == s->n_ranges || s->range[i].cur > cur)
		return ADDR_NONE;
	return s->range[i].orig + (cur - s->range[i].cur);
}

uint64_t space_cur(const struct space *s, uint64_t orig, uint64_t *pages)
{
	for (size_t i = 0; i < s->n_ranges; i++) {
		const struct prange *r = &s->range[i];
		uint64_t off = orig - r->orig;

		if (orig < r->orig || off >> ENG_PAGE_SHIFT >= r->pages)
			continue;
		*pages = r->pages - (off >> ENG_PAGE_SHIFT);
		return r->cur + off;
	}
	return ADDR_NONE;
}

/* The part of @r inside [start, end); pages is 0 when there is none. */
static struct prange range_clip(const struct prange *r, uint64_t start, uint64_t end)
{
	uint64_t a = max_u64(r->cur, start), b = min_u64(range_end(r), end);

	if (a >= b)
		return (struct prange){ 0 };
	return (struct prange){ a, r->orig + (a - r->cur), (b - a) >> ENG_PAGE_SHIFT };
}

void space_drop(struct space *s, uint64_t start, uint64_t end)
{
	for (size_t i = range_from(s, start); i < s->n_ranges && s->range[i].cur < end; i++) {
		struct prange c = range_clip(&s->range[i], start, end);

		if (c.pages)
			space_done(s, c.orig, c.pages, ANY_KIND);
	}
}

bool space_missing(const struct space *s, uint64_t start, uint64_t end)
{
	for (size_t i = range_from(s, start); i < s->n_ranges && s->range[i].cur < end; i++) {
		struct prange c = range_clip(&s->range[i], start, end);

		if (c.pages && space_any(s, c.orig, c.pages, ANY_KIND))
			return true;
	}
	return false;
}

/*
 * Older kernels (pager->exact_moves is false) name the length before the move; an
 * mremap() that moves and shrinks at once so names pages that did not move. What lies
 * behind the real end at the destination is another mapping: it shows by pages that
 * are missing there, since we have been told of what was unmapped for the move.
 */
static uint64_t move_clamp(const struct space *s, uint64_t to, uint64_t bytes)
{
	uint64_t end = to + bytes;

	for (size_t i = range_from(s, to); i < s->n_ranges && s->range[i].cur < end; i++) {
		struct prange c = range_clip(&s->range[i], to, end);
		uint64_t pg = c.orig >> ENG_PAGE_SHIFT;
		uint64_t at = find_kind(s, pg, pg + c.pages, ANY_KIND);

		if (at < pg + c.pages)
			return c.cur + ((at - pg) << ENG_PAGE_SHIFT) - to;
	}
	return bytes;
}

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
static void range_prune(struct space *s)
{
	size_t n = 0;

	if (s->n_ranges < s->prune_at)
		return;
	for (size_t i = 0; i < s->n_ranges; i++)
		if (space_any(s, s->range[i].orig, s->range[i].pages, ANY_KIND))
			s->range[n++] = s->range[i];
	s->n_ranges = n;
	s->prune_at = max_u64(2 * n, PRUNE_MIN);
}

int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes)
{
	uint64_t len = move_clamp(s, to, bytes);
	uint64_t a = min_u64(from, to), b = max_u64(from, to);
	struct prange *v = malloc((4 * s->n_ranges + 1) * sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	space_drop(s, from + len, from + bytes);
	for (size_t i = 0; i < s->n_ranges; i++) {
		const struct prange *r = &s->range[i];
		struct prange moved = range_clip(r, from, from + len);

		/* what stays: before, between and behind the two places */
		range_put(v, &n, range_clip(r, 0, a));
		range_put(v, &n, range_clip(r, a + len, b));
		range_put(v, &n, range_clip(r, b + len, ADDR_END));
		moved.cur += to - from;
		range_put(v, &n, moved);
	}
	qsort(v, n, sizeof(*v), range_cmp);
	free(s->range);
	s->range = v;
	s->n_ranges = n;
	range_prune(s);
	return 0;
}
