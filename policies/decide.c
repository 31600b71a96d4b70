// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * decide.c - another round, stop and copy, switch to post-copy, throttle, or give up.
 *
 * One figure is made small: seconds of downtime, plus seconds in post-copy and seconds
 * of the whole by their weights. Stopping now has a cost that is known; what the next
 * rounds would leave follows from the curve (curve.c), so their gain and price are known
 * before they run. That sees convergence, a floor, and a dirty rate near the bandwidth.
 * A program that is slowed down by a half writes in two seconds what it wrote in one: the same
 * curve says what that would bring; the time taken from it counts as degraded. What no curve can
 * see is a change of phase to come: some patience is for that.
 */
#include "policies/policies.h"

/* How many rounds to predict. A further round helps only if it is shorter than the last. */
#define AHEAD_ROUNDS 8

/* A round must be expected to save at least this share of the cost: predictions are not exact. */
#define GAIN_WORTH   0.03
#define GAIN_LEAST_S 0.004

/* Bandwidth to assume before the link is measured, unless it is limited to less. */
#define LINK_UNKNOWN_BPS 50e6
/* The same if nothing will be sent before the stop: limits must hold even at 100 Mbit/s. */
#define LINK_CAREFUL_BPS 12.5e6

/* Post-copy: a fixed price, for faults and for depending on two hosts meanwhile; and its
 * pages come slower than those of a stream that nobody waits for. */
#define POST_BASE_S 0.02
#define POST_SLOW   1.15

/* Time that each run left behind adds to the stop: both hosts list it. */
#define POST_RUN_S 0.5e-6

/*
 * How much waiting may cost, as a share of what it can save: for a change that nothing predicts; for the
 * end of a sequential walk through memory (SWEEP); if there was a good moment before, at a cost below
 * PHASE_WORTH of now (KNOWN). Chosen so that all traces of t-policy-sim come out well.
 */
#define PATIENCE         0.25
#define PATIENCE_SWEEP   0.35
#define PATIENCE_KNOWN   0.6
#define PHASE_WORTH      0.7
#define PATIENCE_LEAST_S 0.01

/* A sequential writer: each page once, over this share of memory, at this share of its first rate. */
#define SWEEP_SHARE  0.4
#define SWEEP_STEADY 0.92

/* A second in which rounds help makes up for this many seconds in which they do not. */
#define HOPE_HEALS 4

/* A program is calm when it writes pages at less than this share of the link's rate, for CALM_US. */
#define CALM_SHARE 0.1
#define BUSY_SHARE 0.4
#define CALM_US    300000
#define CALM_WORTH 0.2 /* and then worth waiting for, when the freeze alone costs but this share */

/* Smallest step by which throttling is increased. */
#define SLOW_STEP_PERCENT 20

/* For fewer pages than this, copying them in the freeze takes hardly longer than a round. */
#define TINY_PAGES 512

#define NEVER 1e18

/* The cost of a stop that is not allowed: more than any other. */
#define FORBIDDEN_S 1e6

/* The longest time that is predicted. */
#define US_MAX 1000000000000000ull

/* Share of a deadline that is kept in reserve. */
#define DEADLINE_SPARE 0.1

static const char *const verdict_names[] = {
	[POL_ROUND] = "round",       [POL_FINISH] = "finish",   [POL_SWITCH] = "switch",
	[POL_THROTTLE] = "throttle", [POL_GIVE_UP] = "give-up",
};

const char *pol_verdict_name(enum pol_verdict v)
{
	return verdict_names[v];
}

double pol_cost_s(const struct pol_options *o, double down_s, double degraded_s, double total_s)
{
	return down_s + degraded_s * o->degraded_weight_percent / 100.0 +
	       total_s * o->total_weight_percent / 100.0;
}

/* ---- what stopping costs ---- */

struct stop {
	bool finish; /* else switch */
	double down_s, after_s; /* after_s: in post-copy, when it switches */
	double cost_s;
};

/* Bandwidth is and stays unknown (no rounds, or too small ones), yet the operator set limits. */
static bool blind(const struct pol_state *s)
{
	if (s->no_rounds)
		return true;
	return s->round && s->link_Bps <= 0 && (s->opt->downtime_max_ms || s->opt->degraded_max_s);
}

static double careful_Bps(const struct pol_state *s)
{
	return s->link_least_Bps > LINK_CAREFUL_BPS ? s->link_least_Bps : LINK_CAREFUL_BPS;
}

static double link_Bps(const struct pol_state *s)
{
	double limit = (double)s->opt->bandwidth_limit_mbit * 1e6 / 8;
	double Bps = s->link_Bps > 0 ? s->link_Bps : blind(s) ? careful_Bps(s) : LINK_UNKNOWN_BPS;

	return limit > 0 && limit < Bps ? limit : Bps;
}

static double copy_s(const struct pol_state *s, double pages)
{
	return pages * POL_PAGE_BYTES / link_Bps(s);
}

/* What a stop costs however little is left. */
static double freeze_s(const struct pol_state *s)
{
	return (double)s->freeze_us / 1e6 + copy_s(s, (double)s->fixed_pages);
}

/* Pages that are missing or outdated at the destination. */
static double left_pages(const struct pol_state *s)
{
	return (double)s->written_pages + (s->in_round ? (double)s->unsent_pages : 0);
}

static struct stop finish(const struct pol_state *s, double left)
{
	struct stop x = { .finish = true, .down_s = freeze_s(s) + copy_s(s, left) };

	x.cost_s = pol_cost_s(s->opt, x.down_s, 0, x.down_s);
	return x;
}

static struct stop post_copy(const struct pol_state *s, double left)
{
	double runs = left_pages(s) > 0 ? left * (double)s->left_runs / left_pages(s) : 0;
	double eager = left_pages(s) > 0 ? left * (double)s->eager_pages / left_pages(s) : 0;
	struct stop x = { .down_s = freeze_s(s) + copy_s(s, eager) + runs * POST_RUN_S,
		          .after_s = copy_s(s, left - eager) * POST_SLOW };

	x.cost_s = pol_cost_s(s->opt, x.down_s, x.after_s + POST_BASE_S, x.down_s + x.after_s);
	return x;
}

static bool degraded_too_long(const struct pol_state *s, const struct stop *x)
{
	return s->opt->degraded_max_s && x->after_s > s->opt->degraded_max_s;
}

/* Why it may not be stopped like that; NULL: it may. */
static const char *forbidden(const struct pol_state *s, const struct stop *x)
{
	const struct pol_options *o = s->opt;

	if (o->downtime_max_ms && x->down_s * 1e3 > o->downtime_max_ms)
		return "it would be stopped for longer than downtime-max-ms";
	if (s->link_Bps > 0 && x->down_s * 1e3 > o->freeze_limit_ms)
		return POL_WHY_UNDONE;
	if (!x->finish && (s->link_Bps > 0 || blind(s)) && degraded_too_long(s, x))
		return "post-copy would take longer than degraded-max-s";
	return NULL;
}

static double cost_s(const struct pol_state *s, const struct stop *x)
{
	return x->cost_s + (forbidden(s, x) ? FORBIDDEN_S : 0);
}

/* What costs less than this is worth going on for; of two stops that may not be, the shorter one is. */
static double worth_s(const struct pol_state *s, const struct stop *now)
{
	double cost = cost_s(s, now), both = cost >= FORBIDDEN_S ? FORBIDDEN_S : 0;

	return both + (cost - both) * (1 - GAIN_WORTH) - GAIN_LEAST_S;
}

/* How the process would be stopped with @left pages not sent. */
static struct stop stop_with(const struct pol_state *s, double left)
{
	struct stop f = finish(s, left), p = post_copy(s, left);

	switch ((enum pol_mode)s->opt->mode) {
	case POL_STOP_COPY:
	case POL_PRE_COPY:
		return f;
	case POL_POST_COPY:
	case POL_HYBRID:
		return p;
	default:
		if (f.down_s * 1e3 <= s->opt->downtime_limit_ms || degraded_too_long(s, &p))
			return f;
		return cost_s(s, &p) < cost_s(s, &f) ? p : f;
	}
}

/* ---- what more rounds bring ---- */

/* Time that is left for all that is still to be done; without a deadline: for ever. */
static double time_left_s(const struct pol_state *s)
{
	if (!s->opt->deadline_s)
		return NEVER;
	return s->opt->deadline_s * (1 - DEADLINE_SPARE) - (double)s->elapsed_us / 1e6;
}

static double speed(unsigned int slow_percent)
{
	return 1 - slow_percent / 100.0;
}

/*
 * The lowest cost that any number of further rounds is expected to reach, if @percent of
 * the time of the program is taken from it.
 */
static double ahead_slow_s(const struct pol_state *s, unsigned int percent)
{
	double slower = speed(percent) / speed(s->slow_percent);
	double best = NEVER, spent_s = 0, left = left_pages(s);
	double since_s = 0; /* of the scan, when the next round ends */

	if (s->in_round) {
		left = (double)s->unsent_pages;
		since_s = s->curve.n ? (double)s->curve.us[s->curve.n - 1] / 1e6 : 0;
	}
	for (unsigned int k = s->round; k < s->opt->max_rounds && k < s->round + AHEAD_ROUNDS;
	     k++) {
		double round_s = copy_s(s, left) + (double)s->round_base_us / 1e6;

		spent_s += round_s;
		left = curve_at(&s->curve, (since_s + round_s * slower) * 1e6,
		                (double)s->total_pages);
		since_s = 0;
		struct stop x = stop_with(s, left);

		if (spent_s + x.down_s + x.after_s > time_left_s(s))
			break;
		double cost = pol_cost_s(s->opt, 0, spent_s * percent / 100.0, spent_s) +
		              cost_s(s, &x);

		if (cost < best)
			best = cost;
	}
	return best;
}

static double ahead_cost_s(const struct pol_state *s)
{
	return ahead_slow_s(s, s->slow_percent);
}

/* By how much it has to be slowed down for rounds to help; 0: that is not worth it. */
static unsigned int slower_percent(const struct pol_state *s, const struct stop *now)
{
	unsigned int most = s->opt->throttle_max_percent, p = s->slow_percent, best = 0;
	double least = worth_s(s, now);

	if (s->slow_cannot || now->down_s * 1e3 <= s->opt->downtime_limit_ms * now->finish)
		return 0;
	while (p < most) {
		p = p + SLOW_STEP_PERCENT < most ? p + SLOW_STEP_PERCENT : most;
		double cost = ahead_slow_s(s, p);

		if (cost < least) {
			least = cost;
			best = p;
		}
	}
	return best;
}

/*
 * Who fills its memory, or walks through it, writes each page once: the count grows
 * evenly where random writes hit more and more pages for the second time. That has an end.
 */
static bool sweeps(const struct pol_state *s)
{
	const struct pol_curve *c = &s->curve;
	double all = (double)s->total_pages;

	for (unsigned int i = 1, k = 0; i < c->n; i++) {
		double pages = (double)c->pages[i], us = (double)c->us[i];

		if (pages < SWEEP_SHARE * all || pages > (1 - SWEEP_SHARE / 8) * all)
			continue;
		while ((double)c->pages[k] < pages / 4)
			k++;
		if (pages / us >= SWEEP_STEADY * (double)c->pages[k] / (double)c->us[k] && k < i)
			return true;
	}
	return false;
}

/*
 * Nothing says that more rounds help; but a program may change. Go on for a time whose
 * price is a small share of what can be saved: a large one when it was quieter before.
 * What can be saved is of the least cost since hope was lost: waiting may make it worse.
 */
static bool patient(struct pol_state *s, const struct stop *now)
{
	double least = stop_with(s, 0).cost_s, share = s->swept ? PATIENCE_SWEEP : PATIENCE;

	if (now->cost_s - least < PATIENCE_LEAST_S)
		return false; /* good enough */
	if (s->lost_cost_s <= 0 || now->cost_s < s->lost_cost_s)
		s->lost_cost_s = now->cost_s;
	if (s->best_cost_s > 0 && s->best_cost_s < PHASE_WORTH * s->lost_cost_s) {
		least = s->best_cost_s;
		share = PATIENCE_KNOWN;
	} else if (s->calm_us && freeze_s(s) < CALM_WORTH * s->lost_cost_s) {
		share = PATIENCE_KNOWN;
	}
	double next_s = s->in_round ? 0 : (double)s->round_base_us / 1e6;

	if (now->down_s + now->after_s + 2 * next_s > time_left_s(s))
		return false;
	return pol_cost_s(s->opt, 0, 0, (double)s->hopeless_us / 1e6 + next_s) <
	       share * (s->lost_cost_s - least);
}

/* ---- the decision ---- */

static uint64_t as_us(double s)
{
	return s < US_MAX / 1e6 ? (uint64_t)(s * 1e6) : US_MAX;
}

static void predict(const struct pol_state *s, struct pol_answer *a)
{
	struct stop f = finish(s, left_pages(s)), p = post_copy(s, left_pages(s));

	a->left_pages = (uint64_t)left_pages(s);
	a->downtime_us = as_us((a->verdict == POL_SWITCH ? p : f).down_s);
	a->degraded_us = as_us(p.after_s);
	a->total_us = s->elapsed_us + a->downtime_us;
	if (a->verdict == POL_SWITCH)
		a->total_us += a->degraded_us;
}

static void stop_now(const struct pol_state *s, struct pol_answer *a, const struct stop *x,
                     const char *why)
{
	const char *not = forbidden(s, x);

	a->why = not ? not : why;
	a->verdict = not ? POL_GIVE_UP : x->finish ? POL_FINISH : POL_SWITCH;
}

/* Nothing is copied yet: the first round, unless there is nothing to gain by one. */
static void decide_first(const struct pol_state *s, struct pol_answer *a)
{
	struct stop f = finish(s, (double)s->total_pages);

	a->why = "nothing is copied yet";
	if (s->no_rounds || s->opt->mode == POL_STOP_COPY || s->opt->mode == POL_POST_COPY) {
		struct stop x = stop_with(s, (double)s->total_pages);

		stop_now(s, a, &x,
		         s->no_rounds ? "without a tracker there are no rounds"
		                      : "the mode has no rounds");
	} else if (s->opt->mode == POL_AUTO && s->total_pages <= TINY_PAGES &&
	           !s->opt->downtime_max_ms && /* that takes a link that is known */
	           f.down_s * 1e3 <= s->opt->downtime_limit_ms) {
		stop_now(s, a, &f, "it is so small that all of it fits into the downtime limit");
	}
}

/* The first round is under way: only a deadline ends it, and not before it has to. */
static void decide_in_first(const struct pol_state *s, struct pol_answer *a)
{
	struct stop now = stop_with(s, left_pages(s));
	double now_s = now.down_s + now.after_s, rest_s = copy_s(s, (double)s->unsent_pages);
	double since_us = s->curve.n ? (double)s->curve.us[s->curve.n - 1] : 0;
	struct stop then = stop_with(
	        s, curve_at(&s->curve, since_us + rest_s * 1e6, (double)s->total_pages));

	a->why = "the first copy";
	if (now_s < (1 - DEADLINE_SPARE) * time_left_s(s) || ahead_cost_s(s) < NEVER ||
	    rest_s + then.down_s + then.after_s < now_s || forbidden(s, &now))
		return;
	stop_now(s, a, &now, "there is just time left to keep the deadline");
}

static const char *why_stop(const struct pol_state *s, const struct stop *now, bool can_go_on)
{
	double rate_Bps = curve_at(&s->curve, 1e6, (double)s->total_pages) * POL_PAGE_BYTES;

	if (!can_go_on && s->round >= s->opt->max_rounds)
		return "the limit of rounds is reached";
	if (!can_go_on)
		return "another round would miss the deadline";
	if (now->finish && now->down_s * 1e3 <= s->opt->downtime_limit_ms)
		return "the rest fits into the downtime limit";
	if (rate_Bps >= 0.8 * link_Bps(s))
		return "pages are written about as fast as the link carries them";
	return "another round would leave about as much";
}

static void decide_later(struct pol_state *s, struct pol_answer *a)
{
	struct stop now = stop_with(s, left_pages(s));
	double ahead = ahead_cost_s(s);
	unsigned int slow = 0;
	uint64_t us = s->elapsed_us - s->decided_us;

	if (ahead < worth_s(s, &now)) {
		a->why = "another round leaves clearly less";
		us *= HOPE_HEALS;
		s->hopeless_us -= us < s->hopeless_us ? us : s->hopeless_us;
		s->lost_cost_s = 0;
	} else if ((slow = slower_percent(s, &now)) > 0) {
		a->verdict = POL_THROTTLE;
		a->slow_percent = slow;
		a->why = "slowed down, rounds leave clearly less";
	} else if (ahead < NEVER && patient(s, &now)) {
		a->why = "it may soon write less";
		s->hopeless_us += us;
	} else {
		stop_now(s, a, &now, why_stop(s, &now, ahead < NEVER));
	}
	if (!s->in_round && (s->best_cost_s <= 0 || now.cost_s < s->best_cost_s))
		s->best_cost_s = now.cost_s;
}

/*
 * Calm and then written again, within one round: it goes in phases. (Calm alone may be a
 * hot set of which all pages are written.)
 */
static void note_phases(struct pol_state *s)
{
	if (!s->in_round || s->written_pages < s->noted_pages || s->elapsed_us <= s->noted_us) {
		s->spell_us = 0;
	} else {
		uint64_t us = s->elapsed_us - s->noted_us;
		double Bps = (double)(s->written_pages - s->noted_pages) * POL_PAGE_BYTES * 1e6 /
		             (double)us;

		if (Bps < CALM_SHARE * link_Bps(s)) {
			s->spell_us += us;
		} else if (Bps > BUSY_SHARE * link_Bps(s)) {
			if (s->spell_us >= CALM_US && s->spell_us > s->calm_us)
				s->calm_us = s->spell_us;
			s->spell_us = 0;
		}
	}
	s->swept = s->swept || sweeps(s);
	s->noted_us = s->elapsed_us;
	s->noted_pages = s->written_pages;
}

struct pol_answer pol_decide(struct pol_state *s)
{
	struct pol_answer a = { .verdict = POL_ROUND };

	note_phases(s);
	if (s->round == 0 && !s->in_round)
		decide_first(s, &a);
	else if (s->round == 0)
		decide_in_first(s, &a);
	else
		decide_later(s, &a);
	s->decided_us = s->elapsed_us;
	predict(s, &a);
	return a;
}

void pol_wrote(struct pol_state *s, uint64_t us, uint64_t pages)
{
	double at_us = (double)us + s->skew_us;

	curve_add(&s->curve, at_us > 0 ? (uint64_t)at_us : 0, pages);
}

void pol_slowed(struct pol_state *s, unsigned int percent)
{
	double slower = speed(s->slow_percent) / speed(percent);
	const struct pol_curve c = s->curve;
	double last = c.n ? (double)c.us[c.n - 1] : 0;

	/* at its new speed it would have needed this many seconds for the same writes */
	s->curve.n = 0;
	for (unsigned int i = 0; i < c.n; i++)
		curve_add(&s->curve, (uint64_t)((double)c.us[i] * slower), c.pages[i]);
	s->skew_us += last * slower - last;
	s->slow_percent = percent;
}

void pol_round_done(struct pol_state *s, const struct pol_round *r)
{
	s->past[s->round % POL_PAST] = *r;
	s->round++;
	s->in_round = false;
	s->unsent_pages = 0;
	s->written_pages = r->left_pages;
}
