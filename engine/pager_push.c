// SPDX-License-Identifier: GPL-2.0-or-later
/* pager_push.c - fill from the store what nobody has asked for yet, and free it there. */
#include "engine/pager.h"

#include <sched.h>

#include "common/log.h"

static uint64_t local_left(const struct space *s)
{
	return space_serves(s) ? __atomic_load_n(&s->local, __ATOMIC_ACQUIRE) : 0;
}

/* The first local page at or behind the push position, wrapping once. */
static bool find_local(struct space *s, uint64_t *orig)
{
	for (size_t turn = 0; turn <= s->n_chunks; turn++) {
		if (s->push_chunk >= s->n_chunks) {
			s->push_chunk = 0;
			s->push_page = 0;
		}
		const struct pchunk *c = &s->chunk[s->push_chunk];

		if (__atomic_load_n(&c->local, __ATOMIC_RELAXED))
			for (unsigned int i = s->push_page; i < PCHUNK_PAGES; i++)
				if (__atomic_load_n(&c->st[i], __ATOMIC_RELAXED) == P_LOCAL) {
					s->push_page = i;
					*orig = (c->first + i) << ENG_PAGE_SHIFT;
					return true;
				}
		s->push_chunk++;
		s->push_page = 0;
	}
	return false;
}

/* How many pages from @orig on are worth reading: up to the last local one. */
static size_t piece_pages(const struct space *s, uint64_t orig)
{
	const struct pchunk *c = space_chunk(s, orig);
	size_t first = (orig >> ENG_PAGE_SHIFT) % PCHUNK_PAGES, n = 0;

	for (size_t i = 0; c && i < PIECE_PAGES && first + i < PCHUNK_PAGES; i++)
		if (__atomic_load_n(&c->st[first + i], __ATOMIC_RELAXED) == P_LOCAL)
			n = i + 1;
	return n;
}

/* Return: 0; -EAGAIN try again soon */
static int push_piece(struct pager *p, struct space *s, uint64_t orig, size_t pages)
{
	size_t bytes = pages * ENG_PAGE_BYTES;
	ssize_t n = pread(sobj_fd(s->fam->so), p->piece, bytes, (off_t)orig);

	if (n != (ssize_t)bytes) {
		pager_fail(p, s, EIO, "the page store cannot be read");
		return 0;
	}
	pthread_rwlock_rdlock(&s->fam->lock);
	int r = fill_pages(s, orig, pages, p->piece, KIND_LOCAL);

	pthread_rwlock_unlock(&s->fam->lock);
	if (r < 0)
		return pager_trouble(p, s, r);
	p->nomem_since_us = 0;
	family_window_done(s->fam, orig);
	family_window_done(s->fam, orig + bytes - 1);
	return 0;
}

/* Around the latest fault. Return: false when there is nothing there */
static bool push_hint(struct pager *p)
{
	while (p->hint && p->hint_pieces) {
		uint64_t orig = p->hint_orig;
		size_t n = local_left(p->hint) ? piece_pages(p->hint, orig) : 0;

		p->hint_pieces--;
		p->hint_orig += PIECE_PAGES * ENG_PAGE_BYTES;
		if (n) {
			push_piece(p, p->hint, orig, n);
			return true;
		}
	}
	p->hint = NULL;
	return false;
}

static struct space *choose(struct pager *p)
{
	if (p->push_now && local_left(p->push_now))
		return p->push_now;
	p->push_now = NULL;
	for (struct family *f = p->families; f && !p->push_now; f = f->next)
		for (struct space *s = f->spaces; s && !p->push_now; s = s->next)
			if (local_left(s))
				p->push_now = s;
	return p->push_now;
}

/* Nothing is left to fill: free what was dropped before it was. */
static bool sweep(struct pager *p)
{
	for (struct family *f = p->families; f; f = f->next) {
		bool filled = true;

		for (const struct space *s = f->spaces; s; s = s->next)
			filled &= __atomic_load_n(&s->local, __ATOMIC_ACQUIRE) == 0;
		if (filled && family_sweep(f)) {
			__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
			return true;
		}
	}
	return false;
}

/*
 * pager_deliver() puts pages into the store only while p->push is not set, looked at
 * under the write lock; whoever saw it unset is through when we have had each lock.
 */
void push_begin(struct pager *p)
{
	for (struct family *f = p->families; f && !p->pushing; f = f->next) {
		pthread_rwlock_wrlock(&f->lock);
		pthread_rwlock_unlock(&f->lock);
	}
	pthread_mutex_lock(&p->lock);
	__atomic_store_n(&p->pushing, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

bool push_step(struct pager *p)
{
	uint64_t orig;

	__atomic_store_n(&p->cpu, sched_getcpu(), __ATOMIC_RELAXED);
	if (push_hint(p))
		return true;
	struct space *s = choose(p);

	if (s && find_local(s, &orig)) {
		size_t n = piece_pages(s, orig);

		push_piece(p, s, orig, n);
		return true;
	}
	return sweep(p);
}
