// SPDX-License-Identifier: GPL-2.0-or-later
/* hist.c - a histogram with eight classes per power of two: 12 % exact, no memory. */
#include "engine/pager/priv.h"

#define EXACT 16u /* smaller values have a class each */

static unsigned int slot_of(uint64_t v)
{
	if (v < EXACT)
		return (unsigned int)v;
	unsigned int log = 63u - (unsigned int)__builtin_clzll(v);
	unsigned int slot = EXACT + (log - 4) * 8 + (unsigned int)(v >> (log - 3) & 7);

	return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static uint64_t upper_end(unsigned int slot)
{
	if (slot < EXACT)
		return slot;
	unsigned int log = (slot - EXACT) / 8 + 4, part = (slot - EXACT) % 8;

	return (1ULL << log) + ((uint64_t)(part + 1) << (log - 3)) - 1;
}

/* Upper bounds; one more class takes all others. */
const uint32_t pager_fault_le_us[PAGER_FAULT_BOUNDS] = { 50,   100,   250,   500,    1000,   2500,
	                                                 5000, 10000, 50000, 100000, 1000000 };

void hist_add(struct hist *h, uint64_t value)
{
	h->n[slot_of(value)]++;
	h->count++;
	if (value > h->max)
		h->max = value;
}

uint64_t hist_quantile(const struct hist *h, unsigned int per_mille)
{
	uint64_t want = (h->count * per_mille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; i < HIST_SLOTS && want; i++) {
		seen += h->n[i];
		if (seen >= want)
			return upper_end(i) < h->max ? upper_end(i) : h->max;
	}
	return h->max;
}

uint64_t hist_count(const struct hist *h, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < HIST_SLOTS; i++)
		if (upper_end(i) > from && upper_end(i) <= to)
			n += h->n[i];
	return n;
}
