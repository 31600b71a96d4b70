// SPDX-License-Identifier: GPL-2.0-or-later
/* ages.c - when was each page last written: chunks of 512 pages, found by a hash. */
#include "policies/trace.h"

#include <stdlib.h>
#include <string.h>

#include "policies/priv.h"

#define CHUNK_PAGES 512u
#define CHUNK_SHIFT 21 /* of an address */
#define TABLE_MIN   1024u

/* The sample of a page's last write, counted from 1; or one of these. */
#define SEEN_NOT  0u
#define SEEN_ONLY UINT16_MAX /* there, never written */

struct chunk {
	uint64_t obj, base;
	uint16_t last[CHUNK_PAGES];
};

struct ages {
	struct chunk **table;
	size_t cap, n;
	uint16_t sample; /* now, from 1; if it is wide, the last of them */
	uint16_t wide; /* length in samples */
	uint32_t pages, written, never;
	uint32_t *count; /* by age */
};

int ages_new(struct ages **out, struct err *e)
{
	struct ages *a = calloc(1, sizeof(*a));

	if (a) {
		a->cap = TABLE_MIN;
		a->table = calloc(a->cap, sizeof(struct chunk *));
		a->count = calloc(TRACE_SAMPLES_MAX + 1, sizeof(*a->count));
		a->sample = a->wide = 1;
	}
	if (!a || !a->table || !a->count) {
		ages_free(a);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a trace");
	}
	*out = a;
	return 0;
}

void ages_free(struct ages *a)
{
	if (!a)
		return;
	for (size_t i = 0; a->table && i < a->cap; i++)
		free(a->table[i]);
	free(a->table);
	free(a->count);
	free(a);
}

static struct chunk **place(struct chunk **table, size_t cap, uint64_t obj, uint64_t base)
{
	uint64_t h = (obj * 0x9e3779b97f4a7c15u) ^ (base >> CHUNK_SHIFT) * 0xc2b2ae3d27d4eb4fu;
	size_t i = (h ^ h >> 29) & (cap - 1);

	while (table[i] && (table[i]->obj != obj || table[i]->base != base))
		i = (i + 1) & (cap - 1);
	return &table[i];
}

static int grow(struct ages *a)
{
	struct chunk **more = calloc(2 * a->cap, sizeof(*more));

	if (!more)
		return -ENOMEM;
	for (size_t i = 0; i < a->cap; i++)
		if (a->table[i])
			*place(more, 2 * a->cap, a->table[i]->obj, a->table[i]->base) = a->table[i];
	free(a->table);
	a->table = more;
	a->cap *= 2;
	return 0;
}

static struct chunk *chunk_of(struct ages *a, uint64_t obj, uint64_t vaddr)
{
	uint64_t base = vaddr >> CHUNK_SHIFT << CHUNK_SHIFT;
	struct chunk **c = place(a->table, a->cap, obj, base);

	if (*c)
		return *c;
	if (2 * a->n >= a->cap) {
		if (grow(a) < 0)
			return NULL;
		c = place(a->table, a->cap, obj, base);
	}
	*c = calloc(1, sizeof(**c));
	if (!*c)
		return NULL;
	(*c)->obj = obj;
	(*c)->base = base;
	a->n++;
	return *c;
}

/*
 * When in a sample that is wide a page was written is not known: by its number the pages
 * spread over it, each to the same place in every one, so that ages stay right.
 */
static uint16_t sample_of(const struct ages *a, uint64_t page)
{
	uint32_t h = (uint32_t)page * 0x9e3779b1u;

	return (uint16_t)(a->sample - a->wide + 1 + ((uint64_t)h * a->wide >> 32));
}

static void touch_page(struct ages *a, uint16_t *last, bool write, uint64_t page)
{
	bool never = *last == SEEN_NOT || *last == SEEN_ONLY;

	a->pages += *last == SEEN_NOT;
	if (!write) {
		if (*last == SEEN_NOT)
			*last = SEEN_ONLY;
		return;
	}
	if (!never && *last + a->wide > a->sample)
		return;
	uint16_t now = sample_of(a, page);

	if (never)
		a->never++;
	else
		a->count[now - *last - 1]++;
	a->written++;
	*last = now;
}

static int touch(struct ages *a, uint64_t obj, uint64_t vaddr, uint64_t pages, bool write)
{
	while (pages) {
		struct chunk *c = chunk_of(a, obj, vaddr);

		if (!c)
			return -ENOMEM;
		for (size_t i = (vaddr - c->base) >> 12; i < CHUNK_PAGES && pages;
		     i++, pages--, vaddr += 4096)
			touch_page(a, &c->last[i], write, vaddr >> 12);
	}
	return 0;
}

int ages_touch(struct ages *a, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	return touch(a, obj, vaddr, pages, true);
}

int ages_present(struct ages *a, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	return touch(a, obj, vaddr, pages, false);
}

int ages_take(struct ages *a, struct trace_sample *s)
{
	if (a->sample > TRACE_SAMPLES_MAX)
		return -ENOSPC;
	size_t n = a->sample - 1u;

	s->written = a->written;
	s->never = a->never;
	s->total_pages = a->pages;
	s->older = calloc(n + 1, sizeof(*s->older));
	if (!s->older)
		return -ENOMEM;
	for (size_t k = n; k-- > 0;)
		s->older[k] = s->older[k + 1] + a->count[k];
	memset(a->count, 0, n * sizeof(*a->count));
	a->written = a->never = 0;
	a->sample++;
	a->wide = 1;
	return 0;
}

void ages_widen(struct ages *a, uint32_t n)
{
	a->sample = (uint16_t)(a->sample + n - a->wide);
	a->wide = (uint16_t)n;
}

uint32_t ages_wide(const struct ages *a)
{
	return a->wide;
}

void ages_forget(struct ages *a, uint32_t n)
{
	a->sample = (uint16_t)(a->sample - n);
	for (size_t i = 0; i < a->cap; i++)
		for (size_t k = 0; a->table[i] && k < CHUNK_PAGES; k++) {
			uint16_t *last = &a->table[i]->last[k];

			if (*last != SEEN_NOT && *last != SEEN_ONLY)
				*last = *last > n ? (uint16_t)(*last - n) : SEEN_ONLY;
		}
}
