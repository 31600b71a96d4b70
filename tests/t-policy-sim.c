// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-policy-sim - haul's rule beside the others' on synthetic and recorded traces.
 *
 * The cost of a migration, in seconds of downtime: its downtime, half of its time in
 * post-copy, a fifth of its whole time (the weights of the default policy). On every
 * trace and link, over all starts, haul's rule must be the best or within 10 % of the best
 * other rule, even if the others run on haul's rounds, which leave out what is written
 * again before its turn. On average it must be clearly the best: cost at most half as much
 * above the oracle as the best other; and without post-copy not worse than another.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "policy-rules.h"
#include "policy-traces.h"

#define FREEZE_US     50000
#define ROUND_BASE_US 10000
#define NEAR          1.10
#define CLEARLY       0.5
#define NO_WORSE      1.02

struct rule {
	const char *name;
	sim_rule fn; /* NULL: haul's */
	enum pol_mode mode;
	bool leaves_out; /* its own rounds do so, too */
	double here, sum, own_sum; /* of cost over the oracle's; sum: of all; on its own rounds */
};

static struct rule rules[] = {
	{ "haul", NULL, POL_AUTO, true, 0, 0, 0 },
	{ "haul pre-copy", NULL, POL_PRE_COPY, true, 0, 0, 0 },
	{ "p.haul", rule_phaul, POL_PRE_COPY, false, 0, 0, 0 },
	{ "go-criu", rule_gocriu, POL_PRE_COPY, false, 0, 0, 0 },
	{ "LXD", rule_lxd, POL_PRE_COPY, false, 0, 0, 0 },
	{ "Xen", rule_xen, POL_PRE_COPY, true, 0, 0, 0 },
	{ "QEMU", rule_qemu, POL_PRE_COPY, false, 0, 0, 0 },
	{ "Cloud Hyperv.", rule_cloud_hypervisor, POL_PRE_COPY, false, 0, 0, 0 },
	{ "KubeVirt", rule_kubevirt, POL_PRE_COPY, false, 0, 0, 0 },
	{ "stop-copy", rule_stop, POL_PRE_COPY, false, 0, 0, 0 },
};

#define N_HAUL 2u

static unsigned int cases, faults;

/* Cases in which another rule would have been clearly better. */
#define WORSE_MAX 64

static struct {
	char name[96];
	double ratio;
} worse[WORSE_MAX];
static unsigned int n_worse;

static void row(const char *name, const struct sim_setup *set, const struct sim_result *r,
                double own, double best)
{
	double cost = sim_cost(set, r);

	printf("    %-14s %3u %-7s %7.2f %8.3f %8.2f %7.0f %8.3f %7.2f %7.2f\n", name, r->rounds,
	       r->forced ? "forced" : pol_verdict_name(r->verdict), r->total_s, r->downtime_s,
	       r->degraded_s, r->sent_bytes / 1048576.0, cost, cost / best, own / best);
}

static double own_cost(const struct rule *rule, struct sim_setup *set)
{
	struct sim_result r;

	set->sends_twice = !rule->leaves_out;
	sim_run(set, rule->fn, NULL, &r);
	set->sends_twice = false;
	return sim_cost(set, &r);
}

static void one_case(const struct trace *t, double start_s, double mbit)
{
	struct policy p;
	struct sim_result r, known;
	struct sim_setup set = { .trace = t,
		                 .opt = &p.v,
		                 .start_us = start_s * 1e6,
		                 .link_Bps = mbit * 1e6 / 8,
		                 .freeze_us = FREEZE_US,
		                 .round_base_us = ROUND_BASE_US };

	pol_init(&p);
	oracle(&set, true, &known);
	double best = sim_cost(&set, &known), haul = 0, other = 1e18;
	const char *by = "";

	printf("  %s, from %.0f s, %.0f Mbit/s\n", t->title, start_s, mbit);
	row("oracle", &set, &known, best, best);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		p.v.mode = rules[i].mode;
		sim_run(&set, rules[i].fn, NULL, &r);
		double cost = sim_cost(&set, &r), own = own_cost(&rules[i], &set);

		row(rules[i].name, &set, &r, own, best);
		rules[i].sum += cost / best;
		rules[i].own_sum += own / best;
		rules[i].here += cost / best;
		if (i == 0)
			haul = cost;
		else if (i >= N_HAUL && cost < other)
			other = cost, by = rules[i].name;
	}
	cases++;
	if (haul > NEAR * other && n_worse < WORSE_MAX) {
		snprintf(worse[n_worse].name, sizeof(worse[0].name),
		         "%.40s, from %.0f s, %.0f Mbit/s, %s", t->title, start_s, mbit, by);
		worse[n_worse++].ratio = haul / other;
	}
}

/* One trace on one link, over all its starts. */
static void judge(const struct trace *t, double mbit)
{
	double other = 1e18;

	for (size_t i = N_HAUL; i < ARRAY_SIZE(rules); i++)
		if (rules[i].here < other)
			other = rules[i].here;
	printf("  %s, %.0f Mbit/s: haul is %.2f times the best other rule\n", t->title, mbit,
	       rules[0].here / other);
	if (rules[0].here > NEAR * other) {
		printf("FAIL: %s, %.0f Mbit/s: haul is %.2f times the best other rule\n", t->title,
		       mbit, rules[0].here / other);
		faults++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		rules[i].here = 0;
}

static void all_starts(const struct trace *t, bool slow)
{
	static const double mbits[] = { 100, 1000, 8000 }, starts[] = { 0, 7, 21, 33 };
	double end_s = (double)t->n * t->sample_us / 1e6;

	for (size_t b = slow ? 0 : 1; b < ARRAY_SIZE(mbits); b++) {
		for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
			if (starts[i] < 0.8 * end_s)
				one_case(t, starts[i], mbits[b]);
		judge(t, mbits[b]);
	}
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void recorded(const char *dir)
{
	struct dirent **f;
	int n = scandir(dir, &f, NULL, by_name);

	for (int i = 0; i < n; i++) {
		char path[2048];
		size_t len = strlen(f[i]->d_name);
		struct trace t;
		struct err e = ERR_INIT;

		snprintf(path, sizeof(path), "%s/%s", dir, f[i]->d_name);
		free(f[i]);
		if (len < 7 || strcmp(path + strlen(path) - 6, ".trace"))
			continue;
		if (trace_load(&t, path, &e) < 0) {
			printf("FAIL: %s\n", e.msg);
			faults++;
			continue;
		}
		all_starts(&t, true);
		trace_fini(&t);
	}
	if (n >= 0)
		free(f);
}

static int averages(void)
{
	double other = 1e18, own = 1e18;

	printf("\naverage of cost over the oracle's, %u cases: on haul's rounds, on its own\n",
	       cases);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		printf("  %-14s %6.2f %6.2f\n", rules[i].name, rules[i].sum / cases,
		       rules[i].own_sum / cases);
		if (i >= N_HAUL && rules[i].sum < other)
			other = rules[i].sum;
		if (i >= N_HAUL && rules[i].own_sum < own)
			own = rules[i].own_sum;
	}
	printf("haul costs more than %.2f times the best other rule in %u of %u single cases\n",
	       NEAR, n_worse, cases);
	for (unsigned int i = 0; i < n_worse; i++)
		printf("  %s: %.2f\n", worse[i].name, worse[i].ratio);
	/* what a rule costs above the oracle is its own fault; clearly: half of the others' */
	if (rules[0].sum - cases > CLEARLY * (other - cases) ||
	    rules[0].own_sum - cases > CLEARLY * (own - cases)) {
		puts("FAIL: haul is not clearly the best on average");
		faults++;
	}
	if (rules[1].sum > NO_WORSE * other) {
		puts("FAIL: haul without post-copy is worse than another on average");
		faults++;
	}
	return faults ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *src = getenv("srcdir");
	char dir[1024];

	puts("    rule        rounds end      total s   down s  after s     MiB   cost s  /oracle  "
	     "own rounds");
	for (size_t i = 0; i < ARRAY_SIZE(syn_traces); i++) {
		struct trace t;
		struct err e = ERR_INIT;

		if (argc > 1 && strcmp(argv[1], syn_traces[i].name))
			continue;
		if (syn_make(&syn_traces[i], &t, &e) < 0) {
			printf("FAIL: %s\n", e.msg);
			return 1;
		}
		all_starts(&t, false);
		trace_fini(&t);
	}
	snprintf(dir, sizeof(dir), "%s/tests/traces", src ? src : ".");
	if (argc <= 1)
		recorded(dir);
	return averages();
}
