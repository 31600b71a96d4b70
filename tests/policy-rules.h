/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy-rules.h - when others stop: the rules of p.haul, go-criu, LXD, Xen, QEMU, Cloud Hypervisor
 * and KubeVirt with their defaults, as functions of the same state as haul's; and an oracle.
 *
 * All run on haul's rounds, which leave out what is written again before its turn: only the
 * rule differs. Of these only KubeVirt's switches to post-copy by itself.
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

static inline double rule_left_s(const struct pol_state *s, double pages)
{
	return pages * POL_PAGE_BYTES / (s->link_Bps > 0 ? s->link_Bps : 1);
}

/* What is left fits into 300 ms at the measured bandwidth; else for ever. */
static inline struct pol_answer rule_qemu(void *arg, const struct pol_state *s)
{
	(void)arg;
	return rule_says(s, s->round && rule_left_s(s, (double)s->written_pages) < 0.3);
}

/* The estimated downtime, with the rest of the stop, is 300 ms at most; after an hour it is forced. */
static inline struct pol_answer rule_cloud_hypervisor(void *arg, const struct pol_state *s)
{
	(void)arg;
	double down_s = (double)s->freeze_us / 1e6 + rule_left_s(s, (double)s->written_pages);

	return rule_says(
	        s, s->round && (!s->written_pages || down_s <= 0.3 || s->elapsed_us >= 3600000000));
}

/*
 * VEP 248 and 291. Up to a stall it is QEMU's rule, with a downtime that grows from 150 to 1050 ms, here
 * over the window. A stall is when the least that was left was not undercut for 40 s: then, near that least
 * again, it stops if that takes no longer than twice the most, and is post-copy otherwise.
 */
#define KUBEVIRT_WINDOW_US 40e6
#define KUBEVIRT_NEAR      1.1

static inline struct pol_answer rule_kubevirt(void *arg, const struct pol_state *s)
{
	static uint64_t least_pages, least_us; /* of the migration that runs */

	(void)arg;
	if (s->round == 0 || s->written_pages < least_pages) {
		least_pages = s->round ? s->written_pages : UINT64_MAX;
		least_us = s->elapsed_us;
	}
	double left = (double)s->written_pages;
	double ramp = (double)s->elapsed_us < KUBEVIRT_WINDOW_US
	                      ? (double)s->elapsed_us / KUBEVIRT_WINDOW_US
	                      : 1;
	bool stall = (double)(s->elapsed_us - least_us) >= KUBEVIRT_WINDOW_US &&
	             left <= KUBEVIRT_NEAR * (double)least_pages;
	struct pol_answer a = rule_says(
	        s, s->round && (stall || rule_left_s(s, left) <= 0.15 + 0.9 * ramp));

	if (stall && rule_left_s(s, (double)least_pages) > 2 * 1.05)
		a.verdict = POL_SWITCH;
	return a;
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
