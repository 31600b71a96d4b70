/* SPDX-License-Identifier: GPL-2.0-or-later */
/* area.c - stamped pages: lost, stale, zero, torn and misplaced ones are told apart. */
#include "work.h"

#include <string.h>

#define GEN_BITS   40
#define GEN_MASK   ((UINT64_C(1) << GEN_BITS) - 1)
#define LAST_WORD  (PAGE_WORDS - 1) /* stamped in any case: the end of the page */
#define HEAD_WORDS 4

/* What the stamp of a page consists of; words beyond the head follow from seed. */
struct stamp {
	uint64_t magic;
	uint64_t index;
	uint64_t want;
	uint64_t seed;
};

static struct stamp stamp_of(const struct area *a, size_t page, uint64_t want)
{
	struct stamp s = {
		.magic = STAMP_MAGIC << 32 | (uint32_t)work_pid,
		.index = (uint64_t)a->tag << 40 | (a->first + page),
		.want = want,
	};

	s.seed = rnd_mix(want ^ rnd_mix(s.index ^ (s.magic << 17)));
	return s;
}

static inline uint64_t noise(uint64_t seed, size_t k)
{
	uint64_t x = seed + k * 0x9e3779b97f4a7c15ULL;

	return (x ^ (x >> 31)) * 0xd6e8feb86659fd93ULL;
}

static void fill_words(const struct area *a, size_t page, uint64_t want, uint64_t *w)
{
	struct stamp s = stamp_of(a, page, want);
	size_t k = HEAD_WORDS;

	memcpy(w, &s, sizeof(s));
	for (; k < a->noise_words; k += a->step)
		w[k] = noise(s.seed, k);
	for (; k < LAST_WORD; k += a->step)
		w[k] = s.seed;
	w[LAST_WORD] = ~s.seed;
}

static bool is_stamped(const struct area *a, size_t page, uint64_t want, const uint64_t *w)
{
	struct stamp s = stamp_of(a, page, want);
	uint64_t wrong = w[LAST_WORD] ^ ~s.seed;
	size_t k = HEAD_WORDS;

	if (memcmp(w, &s, sizeof(s)))
		return false;
	for (; k < a->noise_words; k += a->step)
		wrong |= w[k] ^ noise(s.seed, k);
	for (; k < LAST_WORD; k += a->step)
		wrong |= w[k] ^ s.seed;
	return !wrong;
}

static bool is_zero(const uint64_t *w)
{
	uint64_t any = 0;

	for (size_t k = 0; k < PAGE_WORDS; k++)
		any |= w[k];
	return !any;
}

static bool is_right(const struct area *a, size_t page, const uint64_t *w)
{
	uint64_t want = a->want[page];

	if (!want)
		return is_zero(w);
	if (want & WANT_MAYBE)
		return is_stamped(a, page, want & ~WANT_MAYBE, w) || is_zero(w);
	return is_stamped(a, page, want, w);
}

static uint64_t *words_at(const struct area *a, size_t page)
{
	return (uint64_t *)(void *)(a->base + page * PAGE_BYTES);
}

/**
 * area_init() - describe memory that reads as zero so far
 * @tag:   tells the areas of one process apart
 * @owner: tells processes and threads apart
 */
void area_init(struct area *a, void *base, size_t pages, uint32_t tag, uint16_t owner)
{
	*a = (struct area){
		.base = base,
		.pages = pages,
		.tag = tag,
		.owner = owner,
		.noise_words = PAGE_WORDS / 2,
		.step = 1,
	};
	a->want = work_map((pages * sizeof(*a->want) + PAGE_BYTES - 1) / PAGE_BYTES);
}

/* Writes what @page must hold to @words, PAGE_BYTES long. */
void area_fill(const struct area *a, size_t page, uint64_t *words)
{
	fill_words(a, page, a->want[page], words);
}

/* Writes a new generation without looking at the old one. */
void area_stamp(struct area *a, size_t page)
{
	a->want[page] = (uint64_t)a->owner << GEN_BITS | (++a->serial & GEN_MASK);
	fill_words(a, page, a->want[page], words_at(a, page));
}

void area_stamp_all(struct area *a)
{
	for (size_t i = 0; i < a->pages; i++)
		area_stamp(a, i);
}

/**
 * area_write() - check what a page holds, then write a new generation
 * Return: 0; -1 when the old one was wrong: it stays as it is, work_fail() was called
 */
int area_write(struct area *a, size_t page)
{
	struct report r = { 0 };

	if (!is_right(a, page, words_at(a, page))) {
		area_check(a, page, &r);
		work_fail("before a write: %s", r.detail);
		return -1;
	}
	area_stamp(a, page);
	return 0;
}

static void tell_fault(const struct area *a, size_t page, const uint64_t *w, struct report *r)
{
	uint64_t want = a->want[page] & ~WANT_MAYBE;
	struct stamp s = stamp_of(a, page, want);
	size_t k = HEAD_WORDS;

	if (is_zero(w)) {
		r->zero_pages++;
		rep_page(r, w, "area %u page %zu is zero, wants generation %lu", a->tag,
		         a->first + page, want & GEN_MASK);
	} else if (!want) {
		rep_page(r, w, "area %u page %zu must be zero, begins with %016lx %016lx %016lx",
		         a->tag, a->first + page, w[0], w[1], w[2]);
	} else if (w[0] != s.magic) {
		rep_page(r, w, "area %u page %zu: foreign content %016lx %016lx", a->tag,
		         a->first + page, w[0], w[1]);
	} else if (w[1] != s.index) {
		rep_page(r, w, "area %u page %zu holds area %lu page %lu", a->tag, a->first + page,
		         w[1] >> 40, w[1] & GEN_MASK);
	} else if (w[2] >> GEN_BITS != want >> GEN_BITS) {
		rep_page(r, w, "area %u page %zu: of owner %lx, wants owner %lx", a->tag,
		         a->first + page, w[2] >> GEN_BITS, want >> GEN_BITS);
	} else if (w[2] != want) {
		r->stale_pages += w[2] < want;
		rep_page(r, w, "area %u page %zu: %s generation %lu, wants %lu", a->tag,
		         a->first + page, w[2] < want ? "stale" : "future", w[2] & GEN_MASK,
		         want & GEN_MASK);
	} else {
		while (k < LAST_WORD && w[k] == (k < a->noise_words ? noise(s.seed, k) : s.seed))
			k += a->step;
		rep_page(r, w, "area %u page %zu: torn, generation %lu, first wrong word %zu",
		         a->tag, a->first + page, want & GEN_MASK, k);
	}
}

/* Checks a copy of @page that lies at @at; faults are told by that address. */
void area_check_at(const struct area *a, size_t page, const void *at, struct report *r)
{
	r->checked_pages++;
	if (!is_right(a, page, at))
		tell_fault(a, page, at, r);
}

void area_check(const struct area *a, size_t page, struct report *r)
{
	area_check_at(a, page, words_at(a, page), r);
}

void area_verify(const struct area *a, struct report *r)
{
	for (size_t i = 0; i < a->pages; i++)
		area_check(a, i, r);
}

/* Like area_check(), for one page in passing: counts as a fault at once. */
bool area_holds(const struct area *a, size_t page, struct report *r)
{
	uint64_t before = r->bad_pages;

	area_check(a, page, r);
	if (r->bad_pages == before)
		return true;
	work_fail("in passing: %s", r->detail);
	return false;
}

/**
 * area_sabotage() - damage a page behind the model's back
 * @kind: 1 zero, 2 older generation, 3 one bit, 4 another page's content
 */
void area_sabotage(const struct area *a, size_t page, long kind)
{
	uint64_t *w = words_at(a, page);

	if (kind == 1)
		memset(w, 0, PAGE_BYTES);
	else if (kind == 2)
		fill_words(a, page, a->want[page] - 1, w);
	else if (kind == 3)
		w[LAST_WORD] ^= 1;
	else if (kind == 4)
		memcpy(w, words_at(a, (page + 1) % a->pages), PAGE_BYTES);
}
