// SPDX-License-Identifier: GPL-2.0-or-later
/* space.c - which pages of an address space are missing, and their addresses. */
#include "engine/pager/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/page.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"
#include "engine/runs.h"

struct space *space_new(struct family *f, pid_t pid)
{
	static const struct prange all = { 0, 0, ADDR_END >> PAGE_BITS };
	struct space *s = arena_alloc(&f->p->mem, sizeof(*s));
	struct shape *h = shape_new(f->p, &all, 1);

	if (!s || !h) {
		arena_free(&f->p->mem, s, sizeof(*s));
		shape_free(f->p, h);
		return NULL;
	}
	s->fam = f;
	s->uffd = -1;
	s->pid = pid;
	s->shape = h;
	return s;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	struct pager *p = s->fam->p;

	arena_free(&p->mem, s->chunk, s->cap_chunks * sizeof(*s->chunk));
	shape_free(p, s->shape);
	arena_free(&p->mem, s, sizeof(*s));
}

bool space_serves(const struct space *s)
{
	return s->uffd >= 0 && !__atomic_load_n(&s->gone, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&s->stuck, __ATOMIC_ACQUIRE);
}

/* ---- making the set ---- */

/* Filled in order, after all chunks were counted. */
struct draft {
	struct space *s;
	size_t cap; /* of s->chunk */
};

static uint64_t first_of(uint64_t pg)
{
	return pg & ~(uint64_t)(PCHUNK_PAGES - 1);
}

static struct pchunk *chunk_for(struct draft *d, uint64_t first)
{
	struct space *s = d->s;

	if (s->n_chunks && s->chunk[s->n_chunks - 1].first == first)
		return &s->chunk[s->n_chunks - 1];
	if (s->n_chunks == d->cap)
		return NULL;
	struct pchunk *c = &s->chunk[s->n_chunks++];

	c->first = first;
	return c;
}

static int set_run(struct draft *d, uint64_t vaddr, uint64_t pages, enum pstate st)
{
	uint64_t pg = vaddr >> PAGE_BITS, end = pg + pages;

	while (pg < end) {
		uint64_t first = first_of(pg);
		uint64_t n = first + PCHUNK_PAGES < end ? first + PCHUNK_PAGES - pg : end - pg;
		struct pchunk *c = chunk_for(d, first);

		if (!c)
			return -ENOMEM;
		memset(&c->st[pg - first], st, n);
		*(st == P_LOCAL ? &c->local : &c->remote) += (uint32_t)n;
		*(st == P_LOCAL ? &d->s->local : &d->s->remote) += n;
		pg += n;
	}
	return 0;
}

/* Only pages with data count as missing: a zero page is supplied by its fault. */
static int set_local(struct draft *d, const struct run *run, struct err *e)
{
	const struct space *s = d->s;
	enum page_state st = PAGE_ABSENT;

	for (uint64_t done = 0; done < run->pages;) {
		uint64_t vaddr = run->vaddr + done * PAGE_BYTES;
		size_t n = s->fam->so ? store_span(s->fam->so, vaddr, run->pages - done, &st) : 0;

		if (n == 0 || st == PAGE_ABSENT)
			return err_set(e, ERR_BUG, ENODATA, "page %llx of pid %d is not stored",
			               (unsigned long long)vaddr, s->pid);
		if (st == PAGE_DATA && set_run(d, vaddr, n, P_LOCAL) < 0)
			return err_set(e, ERR_BUG, ENOSPC, "more chunks than were counted");
		done += n;
	}
	return 0;
}

static bool run_ok(const struct run *r, uint64_t at)
{
	return r->vaddr % PAGE_BYTES == 0 && r->vaddr >= at && r->vaddr < ADDR_END &&
	       r->pages <= (ADDR_END - r->vaddr) >> PAGE_BITS;
}

/* Two ascending lists as one. */
struct both {
	const struct runs *local, *remote;
	size_t i, k;
	bool here; /* the last run was one of @local */
};

static const struct run *both_next(struct both *b)
{
	const struct runs *l = b->local, *r = b->remote;

	if (b->i == l->n && b->k == r->n)
		return NULL;
	b->here = b->k == r->n || (b->i < l->n && l->v[b->i].vaddr < r->v[b->k].vaddr);
	return b->here ? &l->v[b->i++] : &r->v[b->k++];
}

static int count_chunks(const struct space *s, struct both b, size_t *count, struct err *e)
{
	const struct run *run;
	uint64_t at = 0, known = UINT64_MAX;

	*count = 0;
	while ((run = both_next(&b))) {
		if (!run_ok(run, at))
			return err_set(e, ERR_BUG, EINVAL, "page runs of pid %d are not in order",
			               s->pid);
		at = run->vaddr + run->pages * PAGE_BYTES;
		if (run->pages == 0)
			continue;
		uint64_t first = first_of(run->vaddr >> PAGE_BITS);
		uint64_t last = first_of((at >> PAGE_BITS) - 1);

		*count += (last - first) / PCHUNK_PAGES + (first != known);
		known = last;
	}
	return 0;
}

int space_set(struct space *s, const struct runs *local, const struct runs *remote, struct err *e)
{
	struct draft d = { .s = s };
	struct both b = { .local = local, .remote = remote };
	const struct run *run;
	int r = count_chunks(s, b, &d.cap, e);

	if (r < 0)
		return r;
	s->chunk = arena_alloc(&s->fam->p->mem, d.cap * sizeof(*s->chunk));
	if (!s->chunk)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page states");
	while (r == 0 && (run = both_next(&b))) {
		if (b.here)
			r = set_local(&d, run, e);
		else if (set_run(&d, run->vaddr, run->pages, P_REMOTE) < 0)
			r = err_set(e, ERR_BUG, ENOSPC, "more chunks than were counted");
	}
	s->help_chunk = s->n_chunks;
	s->cap_chunks = d.cap;
	return r;
}

static size_t chunks_missing(const struct space *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_chunks; i++)
		n += s->chunk[i].local || s->chunk[i].remote;
	return n;
}

struct space *space_clone(const struct space *s)
{
	struct pager *p = s->fam->p;
	size_t count = chunks_missing(s);
	struct space *n = space_new(s->fam, 0);
	struct shape *h = shape_new(p, s->shape->range, s->shape->n_ranges);
	struct pchunk *c = arena_alloc(&p->mem, count * sizeof(*c));

	if (!n || !h || !c) {
		space_free(n);
		shape_free(p, h);
		arena_free(&p->mem, c, count * sizeof(*c));
		return NULL;
	}
	shape_free(p, n->shape);
	n->shape = h;
	n->chunk = c;
	n->cap_chunks = count;
	for (size_t i = 0; i < s->n_chunks; i++)
		if (s->chunk[i].local || s->chunk[i].remote)
			c[n->n_chunks++] = s->chunk[i];
	n->help_chunk = n->n_chunks;
	n->local = s->local;
	n->remote = s->remote;
	__atomic_add_fetch(&p->left, n->local + n->remote, __ATOMIC_RELAXED);
	__atomic_add_fetch(&p->left_remote, n->remote, __ATOMIC_RELAXED);
	return n;
}

void space_recount(struct space *s)
{
	s->local = s->remote = 0;
	for (size_t i = 0; i < s->n_chunks; i++) {
		struct pchunk *c = &s->chunk[i];

		c->local = c->remote = 0;
		for (size_t k = 0; k < PCHUNK_PAGES; k++) {
			if (c->st[k] == P_ASKED)
				c->st[k] = P_REMOTE;
			c->local += c->st[k] == P_LOCAL;
			c->remote += c->st[k] == P_REMOTE;
		}
		s->local += c->local;
		s->remote += c->remote;
	}
	s->push_chunk = s->push_page = 0;
	s->help_chunk = s->n_chunks;
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
	uint64_t pg = orig >> PAGE_BITS;
	size_t i = chunk_from(s, pg);

	return i < s->n_chunks && s->chunk[i].first <= pg ? &s->chunk[i] : NULL;
}

uint8_t *space_state(const struct space *s, uint64_t orig)
{
	struct pchunk *c = space_chunk(s, orig);

	return c ? &c->st[(orig >> PAGE_BITS) - c->first] : NULL;
}

/* The next chunk, from @i on, that has missing pages and begins before @end; or n_chunks */
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
uint64_t space_find_kind(const struct space *s, uint64_t pg, uint64_t end, unsigned int kinds)
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
	uint64_t pg = orig >> PAGE_BITS;

	return space_find_kind(s, pg, pg + pages, kinds) < pg + pages;
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
			waiters_served(s->fam, s, (c->first + i) << PAGE_BITS);
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
	uint64_t pg = orig >> PAGE_BITS, end = pg + pages;

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
	space_done(s, 0, ADDR_END >> PAGE_BITS, KIND_ANY);
}

/* ---- of current addresses ---- */

void space_drop(struct space *s, uint64_t start, uint64_t end)
{
	const struct shape *h = s->shape;

	for (size_t i = shape_from(h, start); i < h->n_ranges && h->range[i].cur < end; i++) {
		struct prange c = shape_clip(&h->range[i], start, end);

		if (c.pages)
			space_done(s, c.orig, c.pages, KIND_ANY);
	}
}

bool space_missing(const struct space *s, uint64_t start, uint64_t end)
{
	const struct shape *h = s->shape;

	for (size_t i = shape_from(h, start); i < h->n_ranges && h->range[i].cur < end; i++) {
		struct prange c = shape_clip(&h->range[i], start, end);

		if (c.pages && space_any(s, c.orig, c.pages, KIND_ANY))
			return true;
	}
	return false;
}
