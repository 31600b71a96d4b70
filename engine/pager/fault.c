// SPDX-License-Identifier: GPL-2.0-or-later
/* fault.c - threads that wait for a page: from the store, the source, or zeros. */
#include "engine/pager/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"

#define HINT_PIECES  4u /* pushed behind a fault before the pusher returns to its position */
#define AROUND_PAGES 8u /* filled at once if faults are close to each other */
#define NEAR_BYTES   (64u * PAGE_BYTES)

int fault_new(struct pager *p, struct space *s, uint64_t cur, bool for_write, uint64_t now)
{
	if (array_grow(&p->queue.v, p->queue.n, &p->queue.cap, sizeof(*p->queue.v)) < 0)
		return -ENOMEM;
	p->queue.v[p->queue.n++] = (struct fault){ s, cur, now, for_write };
	__atomic_add_fetch(&p->faults, 1, __ATOMIC_RELAXED);
	return 0;
}

/*
 * Are recent faults close to each other? Only then does it pay to fill more than was asked for: a
 * program that writes at random reaches its speed soonest when the rest is pushed in order
 * (measured: 20 MiB instead of 450 MiB were in memory twice).
 */
static bool near_recent(struct pager *p, uint64_t orig)
{
	bool near = false;

	for (unsigned int i = 0; i < FAULTS_RECENT; i++)
		near |= p->queue.recent[i] < orig + NEAR_BYTES &&
		        orig < p->queue.recent[i] + NEAR_BYTES;
	p->queue.recent[p->queue.at_recent++ % FAULTS_RECENT] = orig;
	return near;
}

static size_t local_run(const struct space *s, uint64_t orig, size_t max)
{
	const struct pchunk *c = space_chunk(s, orig);
	size_t first = (orig >> PAGE_BITS) % PCHUNK_PAGES, n = 1;

	while (n < max && first + n < PCHUNK_PAGES &&
	       __atomic_load_n(&c->st[first + n], __ATOMIC_RELAXED) == P_LOCAL)
		n++;
	return n;
}

static int from_store(struct pager *p, struct space *s, uint64_t orig)
{
	bool near = near_recent(p, orig);
	size_t pages = local_run(s, orig, near ? AROUND_PAGES : 1);
	size_t bytes = pages * PAGE_BYTES;

	if (near) {
		p->hint.space = s;
		p->hint.orig = orig + bytes;
		p->hint.pieces = HINT_PIECES;
	}
	if (pread(store_fd(s->fam->so), p->piece, bytes, (off_t)orig) != (ssize_t)bytes)
		return -EIO;
	return fill_pages(s, orig, pages, p->piece, KIND_LOCAL);
}

/* Another space of the family has asked for the page: the answer serves all of them. */
static bool asked_before(const struct family *f, uint64_t orig)
{
	for (const struct space *s = f->spaces; s; s = s->next)
		if (space_any(s, orig, 1, KIND_ASKED))
			return true;
	return false;
}

/* Results of serve_locked() besides 0 and -errno. */
enum { ASK = 1, WAITS = 2 };

static int wait_remote(struct space *s, const struct fault *f, uint64_t orig)
{
	uint8_t *st = space_state(s, orig), was = P_REMOTE;
	bool first = !asked_before(s->fam, orig);

	/* enter the waiter before publishing P_ASKED: the filler looks it up */
	if (waiters_add(s->fam, s, orig, f->since_us) < 0)
		return -ENOMEM;
	if (!__atomic_compare_exchange_n(st, &was, P_ASKED, false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_ACQUIRE) &&
	    was != P_ASKED) {
		/* the page has just arrived */
		waiters_served(s->fam, s, orig);
		fill_wake(s, f->cur, f->cur + PAGE_BYTES);
		return WAITS;
	}
	__atomic_add_fetch(&s->fam->p->faults_remote, 1, __ATOMIC_RELAXED);
	return was == P_REMOTE && first ? ASK : WAITS;
}

/* fam->lock is held for reading. Return: ASK, WAITS, or as fill_pages() */
static int serve_locked(struct pager *p, const struct fault *f, uint64_t *orig)
{
	struct space *s = f->s;

	*orig = space_orig(s, f->cur);
	uint8_t *st = *orig == ADDR_NONE ? NULL : space_state(s, *orig);

	switch (st ? __atomic_load_n(st, __ATOMIC_ACQUIRE) : P_NONE) {
	case P_LOCAL:
		return from_store(p, s, *orig);
	case P_REMOTE:
	case P_ASKED:
		return wait_remote(s, f, *orig);
	default:
		return fill_zero(s, f->cur, f->for_write);
	}
}

/* Return: 0 served; -EAGAIN try later */
static int serve(struct pager *p, const struct fault *f)
{
	struct space *s = f->s;
	uint64_t orig;

	if (!space_serves(s))
		return 0;
	pthread_rwlock_rdlock(&s->fam->lock);
	int r = serve_locked(p, f, &orig);

	pthread_rwlock_unlock(&s->fam->lock);
	if (r == ASK) {
		/* without any lock: the answer may arrive during the call */
		r = p->ops.want(p->ops.arg, s->fam->obj, orig, 1);
		if (r < 0)
			log_warn("page %llx cannot be asked for: %s", (unsigned long long)orig,
			         strerror(-r));
		return 0;
	}
	if (r == 0)
		pager_note_time(p, now_us() - f->since_us);
	else if (r < 0)
		return pager_trouble(p, s, r);
	return 0;
}

bool fault_serve(struct pager *p)
{
	size_t n = p->queue.n, kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct fault f = p->queue.v[i];
		int r = serve(p, &f);

		if (r < 0)
			p->queue.v[kept++] = f;
	}
	p->queue.n = kept;
	return kept > 0;
}

void fault_forget(struct pager *p, const struct space *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->queue.n; i++)
		if (p->queue.v[i].s != s)
			p->queue.v[kept++] = p->queue.v[i];
	p->queue.n = kept;
	if (p->hint.space == s)
		p->hint.space = NULL;
}
