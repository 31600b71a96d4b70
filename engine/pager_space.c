// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_space.c - what is missing in one address space, through moves and forks. */
#include "engine/pager.h"

#include <stdlib.h>
#include <string.h>

struct space *space_new(struct pager *p, pid_t pid, uint64_t obj)
{
	struct space *s = calloc(1, sizeof(*s));

	if (s)
		s->lazy = sparse_new(SPARSE_PAGES);
	if (!s || !s->lazy) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->io, NULL);
	s->p = p;
	s->pid = pid;
	s->obj = obj;
	s->store = store_obj(p->store, obj, false);
	s->uffd = -1;
	return s;
}

/* Readers walk the list without a lock: the link is set last. */
void space_append(struct space *s)
{
	struct pager *p = s->p;

	pthread_mutex_lock(&p->lock);
	if (p->last)
		__atomic_store_n(&p->last->next, s, __ATOMIC_RELEASE);
	else
		__atomic_store_n(&p->first, s, __ATOMIC_RELEASE);
	p->last = s;
	pthread_mutex_unlock(&p->lock);
}

struct space *space_by_pid(struct pager *p, pid_t pid)
{
	for (struct space *s = p->first; s; s = s->next)
		if (s->pid == pid)
			return s;
	return NULL;
}

static size_t to_chunk_end(uint64_t vaddr, uint64_t pages)
{
	size_t room = SPARSE_PAGES - ((vaddr % SPARSE_BYTES) >> ENG_PAGE_SHIFT);

	return pages < room ? (size_t)pages : room;
}

static size_t index_of(uint64_t vaddr)
{
	return (vaddr % SPARSE_BYTES) >> ENG_PAGE_SHIFT;
}

static void count(struct space *s, uint8_t st, int64_t pages)
{
	if (st == LAZY_LOCAL)
		s->left_local += (uint64_t)pages;
	else if (st != LAZY_NONE)
		s->left_remote += (uint64_t)pages;
}

static int set_chunk(struct space *s, uint64_t cur, size_t n, enum lazy st)
{
	uint8_t *v = sparse_get(s->lazy, cur / SPARSE_BYTES, st != LAZY_NONE);

	if (!v)
		return st == LAZY_NONE ? 0 : -ENOMEM;
	v += index_of(cur);
	for (size_t i = 0; i < n; i++) {
		count(s, v[i], -1);
		v[i] = (uint8_t)st;
	}
	count(s, (uint8_t)st, (int64_t)n);
	return 0;
}

static int set_range(struct space *s, uint64_t cur, uint64_t pages, enum lazy st)
{
	int r = 0;

	while (r == 0 && pages) {
		size_t n = to_chunk_end(cur, pages);

		r = set_chunk(s, cur, n, st);
		cur += n * ENG_PAGE_BYTES;
		pages -= n;
	}
	return r;
}

int space_mark(struct space *s, const struct runs *runs, enum lazy st)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < runs->n; i++)
		r = set_range(s, runs->v[i].vaddr, runs->v[i].pages, st);
	return r;
}

size_t space_span(const struct space *s, uint64_t cur, size_t max, enum lazy *st)
{
	const uint8_t *v = sparse_get(s->lazy, cur / SPARSE_BYTES, false);
	size_t n = to_chunk_end(cur, max), i = 0;

	*st = LAZY_NONE;
	if (!v)
		return n;
	v += index_of(cur);
	*st = (enum lazy)v[0];
	while (i < n && v[i] == v[0])
		i++;
	return i;
}

enum lazy space_state(const struct space *s, uint64_t cur)
{
	enum lazy st;

	space_span(s, cur, 1, &st);
	return st;
}

void space_set(struct space *s, uint64_t cur, uint64_t pages, enum lazy st)
{
	set_range(s, cur, pages, st);
}

/* ---- moves ---- */

uint64_t space_orig(const struct space *s, uint64_t cur)
{
	for (const struct move *m = s->moves; m; m = m->next)
		if (cur >= m->cur && cur < m->cur + m->pages * ENG_PAGE_BYTES)
			return cur + (uint64_t)m->delta;
	return cur;
}

uint64_t space_cur(const struct space *s, uint64_t orig)
{
	if (space_state(s, orig) != LAZY_NONE && space_orig(s, orig) == orig)
		return orig;
	for (const struct move *m = s->moves; m; m = m->next) {
		uint64_t cur = orig - (uint64_t)m->delta;

		if (cur >= m->cur && cur < m->cur + m->pages * ENG_PAGE_BYTES &&
		    space_state(s, cur) != LAZY_NONE && space_orig(s, cur) == orig)
			return cur;
	}
	return 0;
}

static int add_move(struct space *s, uint64_t cur, uint64_t pages, uint64_t orig)
{
	struct move *m = malloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct move){ cur, pages, (int64_t)(orig - cur), s->moves };
	s->moves = m;
	return 0;
}

struct moved {
	uint64_t to, pages, orig;
	enum lazy st;
	struct moved *next;
};

/* First note where everything comes from, then clear, then set: areas may overlap. */
static int note_moved(const struct space *s, uint64_t from, uint64_t to, uint64_t bytes,
                      struct moved **list)
{
	for (uint64_t at = 0; at < bytes;) {
		enum lazy st;
		size_t n = space_span(s, from + at, (bytes - at) >> ENG_PAGE_SHIFT, &st);
		uint64_t orig = space_orig(s, from + at);
		size_t k = 1;

		while (k < n &&
		       space_orig(s, from + at + k * ENG_PAGE_BYTES) == orig + k * ENG_PAGE_BYTES)
			k++;
		if (st == LAZY_NONE)
			k = n;
		if (st != LAZY_NONE) {
			struct moved *m = malloc(sizeof(*m));

			if (!m)
				return -ENOMEM;
			*m = (struct moved){ to + at, k, orig, st, *list };
			*list = m;
		}
		at += k * ENG_PAGE_BYTES;
	}
	return 0;
}

int space_move(struct space *s, uint64_t from, uint64_t to, uint64_t bytes)
{
	struct moved *list = NULL;
	int r = note_moved(s, from, to, bytes, &list);

	if (r == 0) {
		set_range(s, from, bytes >> ENG_PAGE_SHIFT, LAZY_NONE);
		space_consume(s, to, bytes >> ENG_PAGE_SHIFT);
	}
	for (struct moved *m = list, *next; m; m = next) {
		next = m->next;
		if (r == 0)
			r = add_move(s, m->to, m->pages, m->orig);
		if (r == 0)
			r = set_range(s, m->to, m->pages, m->st);
		free(m);
	}
	return r;
}

/* ---- giving back ---- */

/* Does another space, forked from the same memory, still need this page? */
static bool needed_elsewhere(const struct space *s, uint64_t orig)
{
	for (struct space *o = s->p->first; o; o = __atomic_load_n(&o->next, __ATOMIC_ACQUIRE))
		if (o != s && o->obj == s->obj && !o->finished && space_cur(o, orig))
			return true;
	return false;
}

static bool alone(const struct space *s)
{
	for (struct space *o = s->p->first; o; o = __atomic_load_n(&o->next, __ATOMIC_ACQUIRE))
		if (o != s && o->obj == s->obj)
			return false;
	return true;
}

static void give_back(struct space *s, uint64_t cur, size_t pages)
{
	if (!s->moves && alone(s)) {
		sobj_drop(s->store, cur, pages);
		return;
	}
	for (size_t i = 0; i < pages; i++) {
		uint64_t orig = space_orig(s, cur + i * ENG_PAGE_BYTES);

		if (!needed_elsewhere(s, orig))
			sobj_drop(s->store, orig, 1);
	}
}

void space_consume(struct space *s, uint64_t cur, uint64_t pages)
{
	while (pages) {
		enum lazy st;
		size_t n = space_span(s, cur, pages, &st);

		if (st != LAZY_NONE)
			set_range(s, cur, n, LAZY_NONE);
		if (st == LAZY_LOCAL && s->store)
			give_back(s, cur, n);
		cur += n * ENG_PAGE_BYTES;
		pages -= n;
	}
}

static void drop_chunk(void *arg, uint64_t key, void *payload)
{
	(void)payload;
	space_consume(arg, key * SPARSE_BYTES, SPARSE_PAGES);
}

void space_drop_all(struct space *s)
{
	sparse_each(s->lazy, drop_chunk, s);
}

/* ---- forks ---- */

struct copy {
	struct space *to;
	bool failed;
};

static void copy_chunk(void *arg, uint64_t key, void *payload)
{
	struct copy *c = arg;
	uint8_t *v = sparse_get(c->to->lazy, key, true);

	if (v)
		memcpy(v, payload, SPARSE_PAGES);
	else
		c->failed = true;
}

static int copy_moves(struct space *to, const struct space *from)
{
	struct move **tail = &to->moves;

	for (const struct move *m = from->moves; m; m = m->next) {
		*tail = malloc(sizeof(**tail));
		if (!*tail)
			return -ENOMEM;
		**tail = *m;
		(*tail)->next = NULL;
		tail = &(*tail)->next;
	}
	return 0;
}

struct space *space_fork(struct space *parent, int uffd)
{
	struct space *s = space_new(parent->p, 0, parent->obj);
	struct copy c = { s, false };
	int r = 0;

	if (!s)
		return NULL;
	s->uffd = uffd;
	sparse_each(parent->lazy, copy_chunk, &c);
	for (size_t i = 0; r == 0 && i < parent->plan.n; i++)
		r = runs_add(&s->plan, parent->plan.v[i].vaddr, parent->plan.v[i].pages);
	if (r == 0)
		r = copy_moves(s, parent);
	s->left_local = parent->left_local;
	s->left_remote = parent->left_remote;
	if (c.failed || r < 0) {
		s->uffd = -1;
		space_free(s);
		return NULL;
	}
	return s;
}

void space_free(struct space *s)
{
	if (!s)
		return;
	if (s->uffd >= 0)
		close(s->uffd);
	for (struct move *m = s->moves, *next; m; m = next) {
		next = m->next;
		free(m);
	}
	runs_fini(&s->plan);
	sparse_free(s->lazy);
	pthread_mutex_destroy(&s->io);
	free(s);
}
