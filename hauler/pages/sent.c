// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sent.c - which pages the destination's store holds: one bit and one fingerprint for each page.
 * This takes 0.55 % of the memory copied.
 */
#include "hauler/pages/send.h"

#include <stdlib.h>

#include "engine/sparse.h"

#define OFTEN_MAX ((1u << SENT_OFTEN_BITS) - 1)
#define LATE_MAX  SENT_LATE(SENT_HEAT_MAX) /* more than the number of rounds */

struct part {
	uint64_t bits[SPARSE_PAGES / 64];
	struct sent_hash hash[SPARSE_PAGES];
	uint32_t
	        claim[SPARSE_PAGES]; /* the last round in which a frame had the page, and 1 added */
	uint16_t heat
	        [SPARSE_PAGES]; /* high bits: the last scan that found it written; low bits: how often */
};

struct sent {
	struct sparse *parts; /* a page has one sender at a time; bits are atomic */
};

/* ID and kind of the object, then the number of a 2 MiB piece of its 47-bit addresses. */
uint64_t sent_key(uint64_t obj, uint64_t vaddr)
{
	return (obj_id(obj) << 1 | obj_is_shmem(obj)) << 26 | vaddr / SPARSE_BYTES;
}

static size_t index_of(uint64_t vaddr)
{
	return (vaddr % SPARSE_BYTES) >> PAGE_BITS;
}

int sent_new(struct sent **out, struct err *e)
{
	AUTO(sent) struct sent *s = calloc(1, sizeof(*s));

	if (s)
		s->parts = sparse_new(sizeof(struct part));
	if (!s || !s->parts)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to remember sent pages");
	*out = steal(s);
	return 0;
}

uint64_t sent_span(const struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t max, bool *has)
{
	const struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), false);
	uint64_t first = index_of(vaddr), i = first;
	uint64_t end = max < SPARSE_PAGES - first ? first + max : SPARSE_PAGES;

	*has = p && (p->bits[first / 64] >> (first % 64) & 1);
	if (!p)
		return end - first;
	while (i < end) {
		uint64_t word = p->bits[i / 64];
		uint64_t rest = (*has ? ~word : word) >> (i % 64);

		i += rest ? (uint64_t)__builtin_ctzll(rest) : 64 - i % 64;
		if (rest)
			break;
	}
	return (i < end ? i : end) - first;
}

int sent_same(struct sent *s, uint64_t obj, uint64_t vaddr, struct sent_hash h)
{
	struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), true);
	size_t i = index_of(vaddr);
	uint64_t bit = 1ULL << (i % 64);

	if (!p)
		return -ENOMEM;
	/* a forgotten page is still there with its old content; zero: it was never sent */
	bool same = p->hash[i].low == h.low && p->hash[i].high == h.high && (h.low || h.high);

	p->hash[i] = h;
	__atomic_fetch_or(&p->bits[i / 64], bit, __ATOMIC_RELAXED);
	return same;
}

bool sent_claim(struct sent *s, uint64_t obj, uint64_t vaddr, uint32_t round)
{
	struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), true);

	return !p || __atomic_exchange_n(&p->claim[index_of(vaddr)], round + 1, __ATOMIC_ACQ_REL) !=
	                     round + 1;
}

static uint16_t warmer(uint16_t heat, unsigned int scan)
{
	unsigned int often = heat & OFTEN_MAX, late = scan < LATE_MAX ? scan : LATE_MAX;

	return (uint16_t)(late << SENT_OFTEN_BITS | (often < OFTEN_MAX ? often + 1 : OFTEN_MAX));
}

void sent_wrote(struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t pages, unsigned int scan)
{
	for (uint64_t n; pages; pages -= n, vaddr += n * PAGE_BYTES) {
		struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), true);
		size_t i = index_of(vaddr);

		n = pages < SPARSE_PAGES - i ? pages : SPARSE_PAGES - i;
		for (size_t k = i; p && k < i + n; k++)
			p->heat[k] = warmer(p->heat[k], scan);
	}
}

unsigned int sent_heat(const struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t *pages)
{
	const struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), false);
	size_t i = index_of(vaddr), end = *pages < SPARSE_PAGES - i ? i + *pages : SPARSE_PAGES;
	unsigned int h = p ? p->heat[i] : 0;

	for (*pages = 1; i + *pages < end && (!p || p->heat[i + *pages] == h); ++*pages)
		;
	return h;
}

void sent_forget(struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	for (; pages; pages--, vaddr += PAGE_BYTES) {
		struct part *p = sparse_get(s->parts, sent_key(obj, vaddr), false);
		size_t i = index_of(vaddr);

		if (p)
			__atomic_fetch_and(&p->bits[i / 64], ~(1ULL << (i % 64)), __ATOMIC_RELAXED);
	}
}

void sent_free(struct sent *s)
{
	if (!s)
		return;
	sparse_free(s->parts);
	free(s);
}
