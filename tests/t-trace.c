// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-trace.c - traces whose samples come late, are far apart, or are more than a trace holds:
 * what is written within a time stays right.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/trace.h"

static int bad;

static void check(const char *what, double got, double want, double within)
{
	if (fabs(got - want) <= within)
		return;
	printf("FAIL: %s: %.1f, not %.1f\n", what, got, want);
	bad = 1;
}

static void seen(struct trace *t, struct ages *a, uint32_t span, uint64_t page, uint64_t pages,
                 const struct pol_curve *c)
{
	struct err e = ERR_INIT;

	trace_span(t, a, span);
	for (uint64_t i = 0; i < pages; i++)
		ages_touch(a, 1, (page + i) * 4096, 1);
	if (trace_add(t, a, 100000, c, &e) < 0) {
		printf("FAIL: %s\n", e.msg);
		exit(1);
	}
}

static void sample(struct trace *t, struct ages *a, uint32_t span, uint64_t page, uint64_t pages)
{
	seen(t, a, span, page, pages, NULL);
}

static struct ages *fresh(struct trace *t)
{
	struct ages *a;
	struct err e = ERR_INIT;

	*t = (struct trace){ .sample_us = 1000 };
	if (ages_new(&a, &e) < 0)
		exit(1);
	return a;
}

/* 126 new pages in each, and then for 20 of them nobody looked. */
static void late(void)
{
	struct trace t;
	AUTO(ages) struct ages *a = fresh(&t);

	for (uint64_t i = 0; i < 10; i++)
		sample(&t, a, 1, 126 * i, 126);
	sample(&t, a, 20, 1260, 20 * 126);
	check("samples", t.n, 30, 0);
	for (uint32_t i = 0; i < t.n; i++)
		check("pages of each", t.v[i].written, 126, 0);
	check("pages of all", trace_written(&t, 0, 30e3), 30 * 126, 0.5);
	trace_fini(&t);
}

/* The same 1000 pages all the time; within spans of other lengths it is not known so well. */
static void hot(void)
{
	static const uint32_t spans[] = { 8, 8, 8, 8, 5, 16, 8, 8 };
	struct trace t;
	AUTO(ages) struct ages *a = fresh(&t);

	for (size_t i = 0; i < ARRAY_SIZE(spans); i++)
		sample(&t, a, spans[i], 0, 1000);
	check("samples", t.n, 69, 0);
	for (double from = 0; from < 48; from++)
		check("a span's time anywhere", trace_written(&t, from * 1e3, (from + 8) * 1e3),
		      from < 24 ? 1000 : 800, from < 24 ? 60 : 420);
	check("more than one", trace_written(&t, 4e3, 30e3), 1000, 60);
	check("half of one", trace_written(&t, 8e3, 12e3), 500, 60);
	trace_fini(&t);
}

/* The same 1000 pages, and it was seen that all of them are written in each sample. */
static void very_hot(void)
{
	const struct pol_curve c = { .n = 2, .us = { 1000, 4000 }, .pages = { 1000, 1000 } };
	struct trace t;
	AUTO(ages) struct ages *a = fresh(&t);

	for (uint32_t i = 0; i < 6; i++)
		seen(&t, a, i % 2 ? 11 : 8, 0, 1000, &c);
	for (uint32_t i = 0; i < t.n; i++)
		check("each has all", t.v[i].written, 1000, 1);
	for (double from = 0; from < 40; from++)
		for (double n = 1; n < 15; n++)
			check("any time has all", trace_written(&t, from * 1e3, (from + n) * 1e3),
			      1000, 15);
	trace_fini(&t);
}

/* Half of all pages in one sample, three quarters in two, ... */
static void random_pages(void)
{
	struct pol_curve c = { 0 };
	struct trace t;
	AUTO(ages) struct ages *a = fresh(&t);

	for (uint64_t k = 1; k <= 8; k *= 2)
		curve_add(&c, k * 1000, (uint64_t)(1000 * (1 - pow(0.5, (double)k))));
	for (uint32_t i = 0; i < 5; i++)
		seen(&t, a, 11, 0, 1000, &c);
	for (double from = 0; from < 40; from++)
		for (double n = 1; n < 11; n++)
			check("as the curve says", trace_written(&t, from * 1e3, (from + n) * 1e3),
			      1000 * (1 - pow(0.5, n)), 120);
	trace_fini(&t);
}

/* More than there is room for: the last ones are as if the first had not been. */
static void many(void)
{
	struct trace t, some;
	AUTO(ages) struct ages *a = fresh(&t);
	AUTO(ages) struct ages *b = fresh(&some);
	uint32_t all = TRACE_SAMPLES_MAX + 5;

	for (uint32_t i = 0; i < all; i++) {
		sample(&t, a, 1, i * 7919ull % 500, i % 13);
		if (i >= TRACE_SAMPLES_MAX / 4)
			sample(&some, b, 1, i * 7919ull % 500, i % 13);
	}
	check("samples in all", t.n + t.dropped, all, 0);
	check("kept", t.n, some.n, 0);
	for (uint32_t i = 0; i < t.n && i < some.n; i++) {
		check("never before", t.v[i].never, some.v[i].never, 0);
		for (uint32_t k = 0; k <= i; k += 97)
			check("by age", t.v[i].older[k], some.v[i].older[k], 0);
	}
	check("a span too long", trace_span(&t, a, 1000000), TRACE_SAMPLES_MAX / 4, 0);
	trace_fini(&t);
	trace_fini(&some);
}

int main(void)
{
	late();
	hot();
	very_hot();
	random_pages();
	many();
	return bad;
}
