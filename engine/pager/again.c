// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * again.c - after a new link to the source: which pages are still missing, and which threads wait.
 */
#include "engine/pager/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/page.h"
#include "engine/pager/pager.h"

/* Forks of a process miss mostly the same pages: each page is named once. */
static bool named_before(const struct space *s, uint64_t orig)
{
	for (const struct space *b = s->fam->spaces; b != s; b = b->next)
		if (space_any(b, orig, 1, KIND_REMOTE))
			return true;
	return false;
}

static bool is_missing(const struct space *s, const struct pchunk *c, unsigned int i)
{
	uint8_t st = __atomic_load_n(&c->st[i], __ATOMIC_ACQUIRE);

	return (st == P_REMOTE || st == P_ASKED) && !named_before(s, (c->first + i) << PAGE_BITS);
}

static int missing_in_chunk(const struct space *s, const struct pchunk *c, pager_missing_fn fn,
                            void *arg)
{
	int r = 0;

	for (unsigned int i = 0, n; r == 0 && i < PCHUNK_PAGES; i += n) {
		for (n = 0; i + n < PCHUNK_PAGES && is_missing(s, c, i + n); n++)
			;
		if (n)
			r = fn(arg, s->fam->obj, (c->first + i) << PAGE_BITS, n);
		n += !n;
	}
	return r;
}

int pager_missing(struct pager *p, pager_missing_fn fn, void *arg)
{
	int r = 0;

	for (struct family *f = p->book->families; f; f = f->next) {
		pthread_rwlock_rdlock(&f->lock);
		for (const struct space *s = f->spaces; s; s = s->next)
			for (size_t i = 0; r == 0 && i < s->n_chunks; i++)
				if (__atomic_load_n(&s->chunk[i].remote, __ATOMIC_ACQUIRE))
					r = missing_in_chunk(s, &s->chunk[i], fn, arg);
		pthread_rwlock_unlock(&f->lock);
	}
	return r;
}

/* Ask from a copy: answers may arrive, and change the list, while we ask. */
static uint64_t *waited_for(struct family *f, size_t *n)
{
	pthread_mutex_lock(&f->wait_lock);
	uint64_t *v = calloc(f->n_wait + 1, sizeof(*v));

	*n = v ? f->n_wait : 0;
	for (size_t i = 0; i < *n; i++)
		v[i] = f->wait[i].orig;
	pthread_mutex_unlock(&f->wait_lock);
	return v;
}

void pager_ask_again(struct pager *p)
{
	for (struct family *f = p->book->families; f; f = f->next) {
		size_t n;
		uint64_t *v = waited_for(f, &n);
		int r = 0;

		for (size_t i = 0; r == 0 && i < n; i++)
			r = p->ops.want(p->ops.arg, f->obj, v[i], 1);
		if (r < 0)
			log_warn("pages cannot be asked for again: %s", strerror(-r));
		free(v);
	}
}
