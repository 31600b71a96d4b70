/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pace.c - an even pace by CLOCK_REALTIME that survives time jumps; random numbers. */
#include "work.h"

#define CATCH_UP_US 10000 /* a longer gap is a dip in speed, never made good */
#define BATCH       16 /* a turn is short, so that gaps between turns mean something */
#define NAP_US      500

void pace_init(struct pace *p, long rate)
{
	*p = (struct pace){ .rate = rate, .last_us = work_now_us() };
}

/**
 * pace_due() - begin a turn
 * Return: how many operations are due in it
 */
unsigned pace_due(struct pace *p)
{
	int64_t now_us = work_now_us();
	int64_t passed_us = now_us - p->last_us;
	double most = (double)p->rate * CATCH_UP_US / 1e6;
	unsigned due;

	p->last_us = now_us;
	p->gap_us = passed_us > 0 ? passed_us : 0;
	if (!p->rate)
		return BATCH;
	if (passed_us > CATCH_UP_US)
		passed_us = CATCH_UP_US;
	if (passed_us > 0)
		p->credit += (double)p->rate * (double)passed_us / 1e6;
	if (most < 1)
		most = 1;
	if (p->credit > most)
		p->credit = most;
	due = p->credit < BATCH ? (unsigned)p->credit : BATCH;
	p->credit -= due;
	return due;
}

/* Sleep when nothing is due. */
void pace_nap(const struct pace *p)
{
	if (p->rate && p->credit < 1)
		work_nap_us(NAP_US);
}

uint64_t rnd_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t rnd_next(struct rnd *r)
{
	r->state += 0x9e3779b97f4a7c15ULL;
	return rnd_mix(r->state);
}

uint64_t rnd_below(struct rnd *r, uint64_t limit)
{
	return limit ? rnd_next(r) % limit : 0;
}
