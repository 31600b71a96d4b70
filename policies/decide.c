// SPDX-License-Identifier: GPL-2.0-or-later
/* decide.c - the simple rule: stop when the predicted downtime fits the limit. */
#include "policies/policies.h"

#include <stddef.h>
#include <string.h>

#define PAGE_BYTES 4096.0

/* Another round must leave clearly less than the one before, or it is no use. */
#define SHRINK_WORTH 0.7

/* Rounds after the first may send the memory once more, not again and again. */
#define SUM_WORTH 2.0

/* Above this share of the link's rate, rounds do not converge. */
#define RATE_HOPELESS 0.8

static const char *const mode_names[POL_NMODES] = {
	[POL_AUTO] = "auto",           [POL_STOP_COPY] = "stop-copy", [POL_PRE_COPY] = "pre-copy",
	[POL_POST_COPY] = "post-copy", [POL_HYBRID] = "hybrid",
};

const char *pol_mode_name(enum pol_mode mode)
{
	return (unsigned int)mode < POL_NMODES ? mode_names[mode] : "unknown";
}

int pol_mode_parse(const char *word)
{
	for (int i = 0; i < POL_NMODES; i++)
		if (!strcmp(word, mode_names[i]))
			return i;
	return -1;
}

static bool may_switch(enum pol_mode mode)
{
	return mode == POL_AUTO || mode == POL_HYBRID || mode == POL_POST_COPY;
}

static uint64_t expected_left(const struct pol_state *s)
{
	double left = s->dirty_pages_ps * (double)s->round_us / 1e6;

	if (s->round == 0 || left > (double)s->total_pages)
		return s->total_pages;
	return (uint64_t)left;
}

static bool hopeless(const struct pol_state *s)
{
	return s->link_Bps > 0 && s->dirty_pages_ps * PAGE_BYTES > RATE_HOPELESS * s->link_Bps;
}

bool pol_cut(const struct pol_state *s)
{
	return s->round == 0 && s->mode == POL_AUTO && hopeless(s);
}

struct pol_answer pol_decide(const struct pol_state *s)
{
	struct pol_answer a = { .verdict = POL_ROUND, .left_pages = expected_left(s) };
	enum pol_verdict stop = may_switch(s->mode) ? POL_SWITCH : POL_FINISH;

	a.downtime_us = s->freeze_us;
	if (s->link_Bps > 0)
		a.downtime_us += (uint64_t)((double)a.left_pages * PAGE_BYTES * 1e6 / s->link_Bps);
	if (s->mode == POL_STOP_COPY || s->mode == POL_POST_COPY) {
		a.verdict = stop;
		a.why = "the mode has no rounds";
	} else if (s->round == 0) {
		a.why = "nothing is copied yet";
	} else if (a.downtime_us <= s->downtime_limit_us && s->mode != POL_HYBRID) {
		a.verdict = POL_FINISH;
		a.why = "the rest fits into the downtime limit";
	} else if (a.downtime_us <= s->downtime_limit_us) {
		a.verdict = POL_SWITCH;
		a.why = "little is left";
	} else if (hopeless(s)) {
		a.verdict = stop;
		a.why = "pages are written about as fast as the link carries them";
	} else if (s->round >= s->max_rounds) {
		a.verdict = stop;
		a.why = "the limit of rounds is reached";
	} else if ((double)(s->sum_pages + a.left_pages) > SUM_WORTH * (double)s->total_pages) {
		a.verdict = stop;
		a.why = "the rounds have sent the memory twice";
	} else if ((double)a.left_pages > SHRINK_WORTH * (double)s->round_pages) {
		a.verdict = stop;
		a.why = "another round would leave about as much";
	} else {
		a.why = "another round leaves clearly less";
	}
	return a;
}
