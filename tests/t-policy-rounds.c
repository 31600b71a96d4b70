// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-policy-rounds.c - the decision on programs and links made up here: an idle program
 * costs one round, one that writes faster than the link ends, limits are kept.
 */
#include <stdio.h>
#include <string.h>

#include "policies/policies.h"
#include "tests/checks.h"

#define PAGE_BYTES 4096.0
#define ROUNDS_MAX 1000

/* A program that writes pages at random, and a link. */
struct world {
	enum pol_mode mode;
	double total_pages, written_pages_ps, link_Bps;
	unsigned int limit_ms, max_rounds;
};

struct outcome {
	enum pol_verdict verdict;
	unsigned int rounds;
	double down_s; /* to send what is left, when it stops then */
	double sent_pages;
};

/* The only place that knows what the hauler tells: round @n took @pages in @s seconds. */
static struct pol_answer tell(const struct world *w, unsigned int n, double pages, double s)
{
	static struct pol_state st;
	static struct policy p;

	if (n == 0) {
		pol_init(&p);
		p.v.mode = w->mode;
		p.v.downtime_limit_ms = w->limit_ms;
		p.v.max_rounds = w->max_rounds;
		st = (struct pol_state){ .opt = &p.v,
			                 .total_pages = (uint64_t)w->total_pages,
			                 .written_pages = (uint64_t)w->total_pages,
			                 .freeze_us = 20000,
			                 .round_base_us = 1000 };
		return pol_decide(&st);
	}
	struct pol_round r = { .us = (uint64_t)(s * 1e6), .pages = (uint64_t)pages };

	st.curve.n = 0;
	for (unsigned int k = 1; k <= 20; k++) {
		double left = w->written_pages_ps * s * k / 20;

		left = left > w->total_pages ? w->total_pages : left;
		curve_add(&st.curve, (uint64_t)(s * 1e6 * k / 20), (uint64_t)left);
		r.left_pages = (uint64_t)left;
	}
	st.elapsed_us += r.us;
	st.link_Bps = w->link_Bps;
	pol_round_done(&st, &r);
	return pol_decide(&st);
}

/* Rounds until it says stop. */
static struct outcome play(const struct world *w)
{
	struct outcome o = { .verdict = POL_ROUND };
	double left = w->total_pages, s = 0, pages = 0;

	for (;; o.rounds++) {
		struct pol_answer a = tell(w, o.rounds, pages, s);

		CHECK(a.why && a.why[0], "no reason in round %u", o.rounds);
		o.verdict = a.verdict;
		if (a.verdict != POL_ROUND || o.rounds == ROUNDS_MAX)
			break;
		pages = left;
		s = pages * PAGE_BYTES / w->link_Bps;
		o.sent_pages += pages;
		left = w->written_pages_ps * s;
		left = left > w->total_pages ? w->total_pages : left;
	}
	o.down_s = left * PAGE_BYTES / w->link_Bps;
	return o;
}

static const struct world gigabit = {
	.mode = POL_AUTO,
	.total_pages = 262144,
	.link_Bps = 117e6,
	.limit_ms = 100,
	.max_rounds = 16,
};

static void idle(void)
{
	struct world w = gigabit;

	for (int m = 0; m < POL_NMODES; m++) {
		w.mode = (enum pol_mode)m;
		struct outcome o = play(&w);
		bool none = m == POL_STOP_COPY || m == POL_POST_COPY;

		CHECK(o.rounds == (none ? 0 : 1), "%s: %u rounds", pol_mode_name(w.mode), o.rounds);
		CHECK(o.verdict != POL_ROUND, "%s", pol_mode_name(w.mode));
	}
}

/* Modes mean what they say. */
static void modes(void)
{
	static const double rates[] = { 0, 100, 5000, 20000, 28000, 50000, 1e6 };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct world w = gigabit;

		w.written_pages_ps = rates[i];
		w.mode = POL_STOP_COPY;
		CHECK(play(&w).verdict == POL_FINISH, "stop-copy at %g", rates[i]);
		w.mode = POL_PRE_COPY;
		CHECK(play(&w).verdict == POL_FINISH, "pre-copy at %g", rates[i]);
		w.mode = POL_POST_COPY;
		CHECK(play(&w).verdict == POL_SWITCH, "post-copy at %g", rates[i]);
		w.mode = POL_HYBRID;
		struct outcome o = play(&w);

		CHECK(o.verdict == POL_SWITCH && o.rounds >= 1, "hybrid at %g: %u rounds", rates[i],
		      o.rounds);
	}
}

/* As fast as the link, or faster: it ends soon, and not with the whole memory to send. */
static void hopeless(void)
{
	static const double shares[] = { 1.0, 1.5, 10, 1000 };

	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		struct world w = gigabit;

		w.max_rounds = ROUNDS_MAX;
		w.written_pages_ps = shares[i] * w.link_Bps / PAGE_BYTES;
		struct outcome o = play(&w);

		CHECK(o.rounds <= 4, "%u rounds at %g of the link's rate", o.rounds, shares[i]);
		CHECK(o.verdict == POL_SWITCH, "verdict %d at %g", o.verdict, shares[i]);
		CHECK(o.sent_pages <= 3 * w.total_pages, "%g pages sent", o.sent_pages);
		w.mode = POL_PRE_COPY;
		o = play(&w);
		CHECK(o.rounds <= 4 && o.verdict == POL_FINISH, "pre-copy: %u rounds", o.rounds);
	}
}

/* Slow writers: rounds go on until the rest fits, and stop there. */
static void within_limit(void)
{
	static const unsigned int limits_ms[] = { 50, 100, 300, 1000 };

	for (size_t i = 0; i < sizeof(limits_ms) / sizeof(limits_ms[0]); i++) {
		struct world w = gigabit;

		w.limit_ms = limits_ms[i];
		w.written_pages_ps = 0.05 * w.link_Bps / PAGE_BYTES;
		struct outcome o = play(&w);

		CHECK(o.verdict == POL_FINISH, "limit %u ms: verdict %d", w.limit_ms, o.verdict);
		CHECK(o.down_s * 1000 + 20 <= w.limit_ms, "limit %u ms: %g s", w.limit_ms,
		      o.down_s);
		CHECK(o.rounds >= 1 && o.rounds <= 4, "limit %u ms: %u rounds", w.limit_ms,
		      o.rounds);
	}
}

static void round_limit(void)
{
	struct world w = gigabit;

	w.limit_ms = 21; /* never met */
	w.written_pages_ps = 0.5 * w.link_Bps / PAGE_BYTES;
	for (w.max_rounds = 1; w.max_rounds <= 3; w.max_rounds++) {
		struct outcome o = play(&w);

		CHECK(o.rounds <= w.max_rounds, "%u rounds of %u", o.rounds, w.max_rounds);
	}
}

static void names(void)
{
	for (int m = 0; m < POL_NMODES; m++)
		for (int k = 0; k < m; k++)
			CHECK(strcmp(pol_mode_name((enum pol_mode)m),
			             pol_mode_name((enum pol_mode)k)),
			      "%s twice", pol_mode_name((enum pol_mode)m));
}

int main(void)
{
	idle();
	modes();
	hopeless();
	within_limit();
	round_limit();
	names();
	return checks_end();
}
