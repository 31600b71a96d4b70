/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy-rules.h - when others stop: the rules of p.haul, go-criu, LXD, Xen and QEMU with their
 * defaults, as functions of the same state as haul's; and an oracle.
 *
 * All run on haul's rounds, which leave out what is written again before its turn: only the
 * rule differs. None of these switches to post-copy by itself.
 */
#ifndef HAUL_POLICY_RULES_H
#define HAUL_POLICY_RULES_H

#include "policies/trace.h"

static inline struct pol_answer rule_says(const struct pol_state *s, bool stop)
{
	double down_us = (double)s->freeze_us;

	if (s->link_Bps > 0)
		down_us += (double)s->written_pages * POL_PAGE_BYTES * 1e6 / s->link_Bps;
	return (struct pol_answer){ .verdict = stop ? POL_FINISH : POL_ROUND,
		                    .left_pages = s->written_pages,
		                    .downtime_us = (uint64_t)down_us,
		                    .why = "" };
}

static const struct pol_round *rule_last(const struct pol_state *s, unsigned int back)
{
	return &s->past[(s->round - 1 - back) % POL_PAST];
}

/* After each pre-dump: at most 64 pages, or more than 10 % more than before, or nine of them. */
static inline struct pol_answer rule_phaul(void *arg, const struct pol_state *s)
{
	(void)arg;
	if (s->round == 0)
		return rule_says(s, false);
	uint64_t pages = rule_last(s, 0)->pages;
	bool grows = s->round > 1 && pages * 100 > rule_last(s, 1)->pages * 110;

	return rule_says(s, pages <= 64 || grows || s->round >= 9);
}

/* It compares the first pre-dump with none: exactly one, always. */
static inline struct pol_answer rule_gocriu(void *arg, const struct pol_state *s)
{
	(void)arg;
	return rule_says(s, s->round >= 1);
}

/* 70 % of the pages need not be sent any more, or ten pre-dumps. */
static inline struct pol_answer rule_lxd(void *arg, const struct pol_state *s)
{
	(void)arg;
	if (s->round == 0)
		return rule_says(s, false);
	uint64_t pages = rule_last(s, 0)->pages;

	return rule_says(s, pages * 10 <= s->total_pages * 3 || s->round >= 10);
}

/* Fewer than 50 pages left, or five iterations. */
static inline struct pol_answer rule_xen(void *arg, const struct pol_state *s)
{
	(void)arg;
	return rule_says(s, s->round && (s->written_pages < 50 || s->round >= 5));
}

/* What is left fits into 300 ms at the measured bandwidth; else for ever. */
static inline struct pol_answer rule_qemu(void *arg, const struct pol_state *s)
{
	(void)arg;
	double left_s = (double)s->written_pages * POL_PAGE_BYTES /
	                (s->link_Bps > 0 ? s->link_Bps : 1);

	return rule_says(s, s->round && left_s < 0.3);
}

/* No pre-copy: recipes by hand. */
static inline struct pol_answer rule_stop(void *arg, const struct pol_state *s)
{
	(void)arg;
	return rule_says(s, true);
}

/* Stops as it is told: the oracle tries all ways. */
struct told {
	unsigned int rounds;
	enum pol_verdict verdict;
};

static inline struct pol_answer rule_told(void *arg, const struct pol_state *s)
{
	const struct told *t = arg;
	struct pol_answer a = rule_says(s, s->round >= t->rounds);

	if (a.verdict == POL_FINISH)
		a.verdict = t->verdict;
	return a;
}

#define ORACLE_ROUNDS 80

static inline double sim_cost(const struct sim_setup *set, const struct sim_result *r)
{
	return pol_cost_s(set->opt, r->downtime_s, r->degraded_s, r->total_s);
}

/* The best of all ways to migrate it, with the whole trace known. */
static inline void oracle(const struct sim_setup *set, bool may_switch, struct sim_result *best)
{
	bool found = false;

	for (unsigned int k = 0; k <= ORACLE_ROUNDS; k++)
		for (int sw = 0; sw <= may_switch; sw++) {
			struct told t = { k, sw ? POL_SWITCH : POL_FINISH };
			struct sim_result r;

			sim_run(set, rule_told, &t, &r);
			if (!found || sim_cost(set, &r) < sim_cost(set, best))
				*best = r;
			found = true;
			if (r.forced)
				return;
		}
}

#endif
