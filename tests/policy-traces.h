/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy-traces.h - synthetic programs: which pages they write, made with the recorder of haul watch. */
#ifndef HAUL_POLICY_TRACES_H
#define HAUL_POLICY_TRACES_H

#include <math.h>
#include <string.h>

#include "policies/trace.h"

#define SYN_SAMPLE_US 25000u
#define SYN_SAMPLES   3200u
#define SYN_PAGES     262144u /* 1 GiB */

struct syn {
	struct ages *ages;
	uint64_t seed;
	uint64_t at; /* of what goes through memory in order */
	uint32_t pages;
};

static uint64_t syn_random(struct syn *y)
{
	y->seed ^= y->seed << 13;
	y->seed ^= y->seed >> 7;
	y->seed ^= y->seed << 17;
	return y->seed;
}

/* Random pages of a part of memory, @pages_ps a second. */
static void syn_write(struct syn *y, double pages_ps, uint32_t from, uint32_t n)
{
	double want = pages_ps * SYN_SAMPLE_US / 1e6;
	unsigned int k = (unsigned int)want;

	k += (double)(syn_random(y) % 1000) / 1000 < want - k;
	while (k--)
		ages_touch(y->ages, 1, (from + syn_random(y) % n) * 4096ull, 1);
}

static void syn_sweep(struct syn *y, double pages_ps)
{
	unsigned int k = (unsigned int)(pages_ps * SYN_SAMPLE_US / 1e6);

	for (; k; k--, y->at++)
		ages_touch(y->ages, 1, y->at % y->pages * 4096ull, 1);
}

static void syn_idle(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 20, 0, 64);
}

static void syn_slow(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 2000, 0, y->pages);
}

static void syn_middle(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 15000, 0, y->pages);
}

static void syn_fast(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 60000, 0, y->pages);
}

static void syn_hot_small(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 200000, 1000, y->pages / 64);
	syn_write(y, 500, 0, y->pages);
}

static void syn_hot_large(struct syn *y, double s)
{
	(void)s;
	syn_write(y, 250000, 1000, y->pages / 4);
	syn_write(y, 500, 0, y->pages);
}

/* Most writes to few pages, as keys of a store are asked for. */
static void syn_skewed(struct syn *y, double s)
{
	(void)s;
	for (uint32_t part = 1; part <= 256; part *= 4)
		syn_write(y, 8000, 0, y->pages / part);
}

static void syn_bursty(struct syn *y, double s)
{
	bool burst = fmod(s, 5) < 2;

	syn_write(y, burst ? 80000 : 300, 0, burst ? y->pages / 4 : 2000);
}

static void syn_collector(struct syn *y, double s)
{
	syn_write(y, 3000, 0, 4000);
	if (fmod(s, 8) < 1.5)
		syn_sweep(y, 120000);
}

/* Fills its memory once, computes, is idle. */
static void syn_phased(struct syn *y, double s)
{
	if (s < 8)
		syn_sweep(y, y->pages / 8.0);
	else if (s < 32)
		syn_write(y, 100000, 0, y->pages / 50);
	else
		syn_idle(y, s);
}

/* Writes all its memory again and again, three times as fast as 1 Gbit/s, and ends abruptly.
 * What foretells it: no page is written twice, so it goes through its memory in order. */
static void syn_abrupt(struct syn *y, double s)
{
	if (s < 12)
		syn_sweep(y, 90000);
	else if (s < 32)
		syn_write(y, 100000, 0, y->pages / 50);
	else
		syn_idle(y, s);
}

static void syn_growing(struct syn *y, double s)
{
	syn_write(y, 1200 * s, 0, y->pages);
}

static void syn_shrinking(struct syn *y, double s)
{
	syn_write(y, s < 45 ? 1600 * (45 - s) : 50, 0, y->pages);
}

struct syn_trace {
	const char *name;
	void (*write)(struct syn *y, double s);
	uint32_t pages;
};

static const struct syn_trace syn_traces[] = {
	{ "idle", syn_idle, SYN_PAGES },
	{ "tiny", syn_idle, 128 },
	{ "constant-slow", syn_slow, SYN_PAGES },
	{ "constant-middle", syn_middle, SYN_PAGES },
	{ "constant-fast", syn_fast, SYN_PAGES },
	{ "hot-set-small", syn_hot_small, SYN_PAGES },
	{ "hot-set-large", syn_hot_large, SYN_PAGES },
	{ "skewed", syn_skewed, SYN_PAGES },
	{ "bursty", syn_bursty, SYN_PAGES },
	{ "collector", syn_collector, SYN_PAGES },
	{ "phased", syn_phased, SYN_PAGES },
	{ "abrupt", syn_abrupt, SYN_PAGES },
	{ "growing", syn_growing, SYN_PAGES },
	{ "shrinking", syn_shrinking, SYN_PAGES },
};

static inline int syn_make(const struct syn_trace *x, struct trace *t, struct err *e)
{
	AUTO(ages) struct ages *a = NULL;
	int r = ages_new(&a, e);
	struct syn y = { .ages = a, .seed = 88172645463325252ull, .pages = x->pages };

	memset(t, 0, sizeof(*t));
	snprintf(t->title, sizeof(t->title), "%s", x->name);
	t->sample_us = SYN_SAMPLE_US;
	if (r == 0)
		r = ages_present(a, 1, 0, x->pages);
	for (unsigned int i = 0; r == 0 && i < SYN_SAMPLES; i++) {
		x->write(&y, i * SYN_SAMPLE_US / 1e6);
		r = trace_add(t, a, 0, NULL, e);
	}
	return r;
}

#endif
