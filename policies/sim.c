// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim.c - a migration of a traced program, round by round, with the decision of a real one.
 *
 * It does what hauler/run/rounds.c does: scan, send what was written, leave out what is
 * written again before its turn, count what was written meanwhile, decide.
 */
#include "policies/trace.h"

#include <string.h>

/* A round is simulated in this many steps, or in samples of the trace if these are longer. */
#define ROUND_STEPS 100

/* Post-copy: what threads wait for comes out of turn. */
#define POST_SLOW 1.15

struct sim {
	const struct sim_setup *set;
	struct pol_state st;
	double now_us, scan_us, former_us; /* the trace's; of the last scan and the one before it */
	double wall_us, scan_wall_us; /* the clock's: more, when the program is slowed down */
	double taken_us; /* of the program's time */
	double sent_pages;
};

static double pages_us(const struct sim *s, double pages)
{
	return pages * POL_PAGE_BYTES * 1e6 / s->set->link_Bps;
}

/* Written since the last scan; of processes that have gone nothing is left. */
static double written(const struct sim *s)
{
	double n = trace_written(s->set->trace, s->scan_us, s->now_us);
	double all = (double)trace_pages(s->set->trace, s->now_us);

	return n < all ? n : all;
}

/* Of the pages that the round has to send, how many were written again by now? */
static double again(const struct sim *s, double pages)
{
	double n = s->st.round == 0
	                   ? written(s)
	                   : trace_rewritten(s->set->trace, s->former_us, s->scan_us, s->now_us);

	return n < pages ? n / pages : 1;
}

/* Advance the clock, and the program by the share of its time that throttling leaves it. */
static void pass(struct sim *s, double us)
{
	double taken_us = us * s->st.slow_percent / 100.0;

	s->wall_us += us;
	s->now_us += us - taken_us;
	s->taken_us += taken_us;
}

/* Return: does the round continue? */
static bool goes_on(struct sim *s, const struct pol_answer *a)
{
	if (a->verdict == POL_THROTTLE)
		pol_slowed(&s->st, a->slow_percent);
	return a->verdict == POL_ROUND || a->verdict == POL_THROTTLE;
}

/* Return: false: it was cut */
static bool one_round(struct sim *s, sim_rule rule, struct pol_answer *a)
{
	double pages = s->st.round == 0 ? (double)trace_pages(s->set->trace, s->now_us)
	                                : written(s);
	double step_us = pages_us(s, pages) / ROUND_STEPS, done = 0;

	if (step_us < s->set->trace->sample_us / 4.0)
		step_us = s->set->trace->sample_us / 4.0;
	s->former_us = s->scan_us;
	s->scan_us = s->now_us;
	s->st.curve.n = 0;
	s->st.in_round = true;
	s->scan_wall_us = s->wall_us;
	s->st.skew_us = 0;
	pass(s, (double)s->set->round_base_us);
	while (done < pages) {
		double fresh = s->set->sends_twice ? 1 : 1 - again(s, pages),
		       can = step_us / pages_us(s, 1);

		if ((pages - done) * fresh <= can) { /* the last step */
			pass(s, pages_us(s, (pages - done) * fresh));
			s->sent_pages += (pages - done) * fresh;
			done = pages;
		} else {
			pass(s, step_us);
			s->sent_pages += can;
			done += can / fresh;
		}
		pol_wrote(&s->st, (uint64_t)(s->wall_us - s->scan_wall_us), (uint64_t)written(s));
		s->st.link_Bps = s->set->link_Bps;
		s->st.elapsed_us = (uint64_t)s->wall_us;
		s->st.written_pages = (uint64_t)written(s);
		s->st.unsent_pages = (uint64_t)((pages - done) * (1 - again(s, pages)));
		if (!rule && done < pages) {
			*a = pol_decide(&s->st);
			if (!goes_on(s, a))
				return false;
		}
	}
	s->st.total_pages = trace_pages(s->set->trace, s->now_us);
	pol_round_done(&s->st, &(struct pol_round){
	                               .us = (uint64_t)(s->wall_us - s->scan_wall_us),
	                               .pages = (uint64_t)pages,
	                               .left_pages = (uint64_t)written(s),
	                       });
	return true;
}

static void end(struct sim *s, const struct pol_answer *a, struct sim_result *out)
{
	double left = (double)s->st.written_pages + (double)s->st.unsent_pages;
	double freeze_s = (double)s->set->freeze_us / 1e6;
	double rest_s = pages_us(s, left) / 1e6;
	double fixed_s = pages_us(s, (double)s->set->fixed_pages) / 1e6;

	out->verdict = a->verdict;
	out->why = a->why;
	out->rounds = s->st.round;
	out->predicted_downtime_s = (double)a->downtime_us / 1e6;
	out->total_s = s->wall_us / 1e6;
	out->slow_percent = s->st.slow_percent;
	out->taken_s = s->taken_us / 1e6;
	if (a->verdict != POL_GIVE_UP) {
		out->downtime_s = freeze_s + fixed_s + (a->verdict == POL_FINISH ? rest_s : 0);
		out->degraded_s = a->verdict == POL_SWITCH ? rest_s * POST_SLOW : 0;
		out->total_s += out->downtime_s + out->degraded_s;
		s->sent_pages += left + (double)s->set->fixed_pages;
	}
	out->sent_bytes = s->sent_pages * POL_PAGE_BYTES;
}

void sim_run(const struct sim_setup *set, sim_rule rule, void *arg, struct sim_result *out)
{
	struct sim s = { .set = set, .now_us = set->start_us, .scan_us = set->start_us };
	struct pol_answer a;

	memset(out, 0, sizeof(*out));
	s.st.opt = set->opt;
	s.st.no_rounds = set->opt->tracker == POL_TRACKER_NONE;
	s.st.freeze_us = set->freeze_us;
	s.st.fixed_pages = set->fixed_pages;
	s.st.round_base_us = set->round_base_us;
	s.st.total_pages = s.st.written_pages = trace_pages(set->trace, s.now_us);
	for (;;) {
		a = rule ? rule(arg, &s.st) : pol_decide(&s.st);
		bool on = goes_on(&s, &a);

		if (on && rule && s.wall_us > SIM_LIMIT_S * 1e6) {
			out->forced = true;
			a.verdict = POL_FINISH;
			a.why = "forced: it would never end";
			on = false;
		}
		if (!on || !one_round(&s, rule, &a))
			break;
	}
	end(&s, &a, out);
	if (!rule && out->downtime_s * 1e3 > set->opt->freeze_limit_ms) {
		out->verdict = POL_GIVE_UP;
		out->why = POL_WHY_UNDONE;
	}
}
