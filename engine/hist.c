// SPDX-License-Identifier: GPL-2.0-or-later
/* hist.c - latencies in slots that grow with the value: 6 % wide at most. */
#include "engine/pager.h"

#define SUB 16u

static unsigned int slot_of(uint64_t us)
{
	if (us < SUB)
		return (unsigned int)us;
	unsigned int power = 63u - (unsigned int)__builtin_clzll(us);
	unsigned int slot = (power - 3) * SUB + (unsigned int)(us >> (power - 4)) - SUB;

	return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

static uint32_t value_of(unsigned int slot)
{
	if (slot < SUB)
		return slot;
	unsigned int power = slot / SUB + 3;

	return (uint32_t)((slot % SUB + SUB) << (power - 4));
}

void hist_add(struct hist *h, uint64_t us)
{
	h->count[slot_of(us)]++;
	h->n++;
	if (us > h->max_us)
		h->max_us = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

uint32_t hist_percentile(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)((double)h->n * share), sum = 0;

	for (unsigned int i = 0; h->n && i < HIST_SLOTS; i++) {
		sum += h->count[i];
		if (sum > want)
			return value_of(i);
	}
	return h->max_us;
}
