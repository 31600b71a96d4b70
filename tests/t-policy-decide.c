// SPDX-License-Identifier: GPL-2.0-or-later
/* t-policy-decide - the decision case by case, each on a program that behaves so. */
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "policy-rules.h"
#include "policy-traces.h"

static struct trace made;
static const char *made_name;

/* Page after page, at four fifths of 1 Gbit/s: each round leaves a fifth less. */
static void sweep(struct syn *y, double s)
{
	(void)s;
	syn_sweep(y, 24400);
}

static const struct syn_trace sweeping = { "sweep", sweep, SYN_PAGES };

static const struct trace *program(const char *name)
{
	struct err e = ERR_INIT;

	if (made_name && !strcmp(made_name, name))
		return &made;
	if (made_name)
		trace_fini(&made);
	if (!strcmp(name, sweeping.name) && syn_make(&sweeping, &made, &e) == 0)
		return made_name = sweeping.name, &made;
	for (size_t i = 0; i < ARRAY_SIZE(syn_traces); i++)
		if (!strcmp(syn_traces[i].name, name) && syn_make(&syn_traces[i], &made, &e) == 0) {
			made_name = syn_traces[i].name;
			return &made;
		}
	printf("FAIL: no program %s: %s\n", name, e.msg);
	exit(1);
}

static unsigned int fixed_pages; /* of the programs that run */

static struct sim_result run(const char *name, const struct pol_options *o, double start_s,
                             double mbit)
{
	struct sim_setup set = { .trace = program(name),
		                 .opt = o,
		                 .start_us = start_s * 1e6,
		                 .link_Bps = mbit * 1e6 / 8,
		                 .freeze_us = 50000,
		                 .round_base_us = 10000,
		                 .fixed_pages = fixed_pages };
	struct sim_result r;

	sim_run(&set, NULL, NULL, &r);
	printf("%-16s %-9s %5.0f Mbit/s: %2u rounds, %s after %.2f s, stopped %.3f s, post-copy "
	       "%.2f s: "
	       "%s\n",
	       name, pol_mode_name(o->mode), mbit, r.rounds, pol_verdict_name(r.verdict), r.total_s,
	       r.downtime_s, r.degraded_s, r.why);
	return r;
}

static void kinds_of_programs(void)
{
	struct policy p;

	pol_init(&p);
	struct sim_result r = run("idle", &p.v, 0, 1000);
	double first_copy_s = r.total_s;

	CHECK(r.rounds == 1 && r.verdict == POL_FINISH, "an idle one takes one round");
	r = run("tiny", &p.v, 0, 1000);
	CHECK(r.rounds == 0 && r.verdict == POL_FINISH, "a tiny one takes no round");
	r = run("constant-slow", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH && r.downtime_s <= 0.1 && r.rounds <= 6, "rounds converge");
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_SWITCH && r.rounds <= 2, "faster than the link: no waste of rounds");
	CHECK(r.sent_bytes < 2.0 * SYN_PAGES * 4096, "faster than the link: of bytes neither");
	r = run("hot-set-large", &p.v, 0, 1000);
	CHECK(r.verdict == POL_SWITCH && r.total_s - r.degraded_s < 1.03 * first_copy_s,
	      "a floor is seen at once");
	CHECK(r.sent_bytes < 1.3 * SYN_PAGES * 4096, "a floor is not sent twice");
	for (int start = 0; start < 35; start += 5) {
		r = run("bursty", &p.v, start, 1000);
		CHECK(r.verdict == POL_FINISH && r.downtime_s <= 0.2,
		      "in a burst it waits for its end");
	}
	r = run("phased", &p.v, 7, 1000);
	CHECK(r.verdict == POL_SWITCH ? r.degraded_s < 2 : r.downtime_s < 1, "it sees a phase end");
	r = run("abrupt", &p.v, 0, 1000);
	CHECK(r.verdict == POL_SWITCH ? r.degraded_s < 1 : r.downtime_s < 0.5,
	      "who walks through memory comes to its end");
}

static void limits(void)
{
	struct policy p;

	pol_init(&p);
	p.v.mode = POL_PRE_COPY;
	struct sim_result r = run("constant-fast", &p.v, 0, 1000);

	CHECK(r.verdict == POL_FINISH, "pre-copy never switches");
	p.v.downtime_max_ms = 1000;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_GIVE_UP && r.downtime_s == 0, "a stop of 5 s is not accepted");
	r = run("constant-slow", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH, "a short one is");
	pol_init(&p);
	p.v.degraded_max_s = 1;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH, "no post-copy of 6 s");
	p.v.mode = POL_HYBRID;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_GIVE_UP, "nor in hybrid");
	pol_init(&p);
	p.v.max_rounds = 1;
	r = run("skewed", &p.v, 0, 1000);
	CHECK(r.rounds <= 1, "max-rounds");
	p.v.mode = POL_STOP_COPY;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.rounds == 0 && r.verdict == POL_FINISH, "stop-copy");
	p.v.mode = POL_POST_COPY;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.rounds == 0 && r.verdict == POL_SWITCH, "post-copy");
	p.v.mode = POL_HYBRID;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.rounds == 1 && r.verdict == POL_SWITCH, "hybrid");
}

/* A stop that the migration does not survive, or that is not allowed, is not begun. */
static void forbidden_stops(void)
{
	struct policy p;

	pol_init(&p);
	p.v.mode = POL_PRE_COPY;
	p.v.freeze_limit_ms = 2000;
	struct sim_result r = run("constant-fast", &p.v, 0, 1000);

	CHECK(r.verdict == POL_GIVE_UP && strstr(r.why, "freeze-limit-ms"), "it would be undone");
	p.v.mode = POL_STOP_COPY;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.verdict == POL_GIVE_UP && r.downtime_s > 2 && strstr(r.why, "undone"),
	      "stop-copy is tried, and undone");
	p.v.mode = POL_AUTO;
	p.v.degraded_weight_percent = 100; /* then it rather stops and copies */
	p.v.freeze_limit_ms = 10000;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH && r.downtime_s > 2, "as it weighs them");
	p.v.freeze_limit_ms = 2000;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_SWITCH, "post-copy rather than undone");
	p.v.freeze_limit_ms = 10000;
	p.v.downtime_max_ms = 1000;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_SWITCH, "post-copy rather than given up");
	p.v.degraded_max_s = 1;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.verdict == POL_GIVE_UP, "neither is allowed");
	pol_init(&p);
	p.v.mode = POL_PRE_COPY;
	p.v.total_weight_percent = 100;
	p.v.downtime_limit_ms = 10;
	r = run("constant-middle", &p.v, 0, 1000);
	p.v.downtime_max_ms = (unsigned int)(r.downtime_s * 900);
	r = run("constant-middle", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH && r.downtime_s * 1e3 <= p.v.downtime_max_ms,
	      "rather more rounds than given up");
	pol_init(&p);
	p.v.mode = POL_PRE_COPY;
	p.v.total_weight_percent = 10;
	p.v.downtime_max_ms = 400;
	r = run("sweep", &p.v, 0, 1000);
	CHECK(r.verdict == POL_FINISH && r.rounds > 10 && r.downtime_s <= 0.4,
	      "however many rounds are still forbidden, they do help");
}

/* What is sent while it is stopped counts wherever the decision is made. */
static void shared_memory(void)
{
	struct policy p;

	pol_init(&p);
	fixed_pages = 131072;
	struct sim_result r = run("idle", &p.v, 0, 1000);

	CHECK(r.downtime_s > 4 && fabs(r.predicted_downtime_s / r.downtime_s - 1) < 0.1,
	      "of 512 MiB");
	p.v.mode = POL_POST_COPY;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.downtime_s > 4, "in post-copy, too");
	p.v.mode = POL_AUTO;
	r = run("tiny", &p.v, 0, 1000);
	CHECK(r.rounds >= 1, "it is not tiny");
	p.v.downtime_max_ms = 2000;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.verdict == POL_GIVE_UP, "downtime-max-ms");
	fixed_pages = 0;
	struct pol_size z = { .pages = 262144, .tasks = 1 };

	CHECK(pol_freeze_us(&z) < 30000, "a stop of a small tree");
	z.how = POL_FREEZE_PUSH;
	CHECK(pol_freeze_us(&z) > 100000, "CRIU looks at all pages");
	z.fixed_pages = 131072;
	CHECK(pol_freeze_us(&z) > 1500000, "512 MiB are put in place there");
	z.fixed_pages = 0;
	z.tasks = 21;
	CHECK(pol_freeze_us(&z) > 200000, "20 processes more");
}

/* Hosts on which things cost otherwise than haul guesses: a few moves of several shapes, and stops are predicted. */
static void learned_costs(void)
{
	static const struct pol_costs real = { .us = { 14000, 2500, 350, 90, 12, 60, 25 } };
	static const struct pol_size shapes[] = {
		{ .tasks = 1, .fds = 6, .maps = 10, .file_maps = 15 },
		{ .tasks = 1, .fds = 10000, .maps = 10 },
		{ .tasks = 128, .fds = 640, .maps = 1300, .file_maps = 1900 },
		{ .tasks = 1, .threads = 511, .fds = 6, .maps = 1030 },
		{ .tasks = 1, .fds = 6, .maps = 5000 },
		{ .tasks = 1, .fds = 2006, .tcp = 2000 },
		{ .tasks = 1, .fds = 12, .maps = 300, .file_maps = 970 },
		{ .tasks = 66, .fds = 1500, .maps = 2000, .file_maps = 4000, .tcp = 120 },
	};
	struct pol_costs c;
	unsigned int good = 0;

	pol_costs_init(&c);
	for (int round = 0; round < 6; round++)
		for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
			struct pol_size z = shapes[i];

			z.costs = &real;
			pol_costs_learn(&c, &shapes[i], pol_freeze_us(&z));
		}
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct pol_size z = shapes[i];

		z.costs = &real;
		double is = (double)pol_freeze_us(&z);

		z.costs = &c;
		double said = (double)pol_freeze_us(&z);

		printf("costs: shape %zu: %.0f us, predicted %.0f us\n", i, is, said);
		good += said > 0.7 * is && said < 1.3 * is;
	}
	CHECK(good == ARRAY_SIZE(shapes), "stops are predicted after a few moves");
	pol_costs_learn(&c, &shapes[0], 0);
	CHECK(c.us[POL_COST_BASE] > 0, "a cost is never nothing");
}

/* How CRIU learns what memory there is, by the shape of the program. */
static void ways_to_look(void)
{
	struct pol_size z = { .pages = 256, .tasks = 1, .fds = 10 };

	CHECK(pol_freeze_how(&z) == POL_FREEZE_SMAPS, "a small program may grow");
	z.fds = 10000;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SCANS || pol_freeze_how(&z) == POL_FREEZE_PUSH,
	      "each descriptor is an open");
	z.pages = 4 * 262144;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SCANS, "much memory, many descriptors");
	z.fds = 10;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SMAPS, "much memory");
	z.threads = 4000;
	z.pages = 262144;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SCANS, "each thread is three opens");
	z = (struct pol_size){ .pages = 128 * 512, .tasks = 128, .fds = 128 * 10 };
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SCANS, "128 processes of 2 MiB");
	z.pages = 128 * 100;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_PUSH, "128 processes with hardly any memory");
	z.pages = 128 * 262144;
	CHECK(pol_freeze_how(&z) == POL_FREEZE_SMAPS, "128 processes of a GiB");
}

static void tiny_ones(void)
{
	struct policy p;

	pol_init(&p);
	p.v.downtime_max_ms = 100;
	struct sim_result r = run("tiny", &p.v, 0, 10);

	CHECK(r.verdict == POL_GIVE_UP || r.downtime_s <= 0.1, "a maximum is not a guess");
	pol_init(&p);
	p.v.bandwidth_limit_mbit = 10;
	r = run("tiny", &p.v, 0, 10);
	CHECK(r.rounds == 1 && r.downtime_s <= 0.1, "a limit of bandwidth is known");
}

/* A first copy of minutes ends as others do. */
static void slow_links(void)
{
	struct policy p;

	pol_init(&p);
	struct sim_result r = run("idle", &p.v, 0, 30);

	CHECK(!r.forced && r.total_s > SIM_LIMIT_S && r.downtime_s < 0.2, "nobody forces it");
	struct pol_state s = { .opt = &p.v, .total_pages = 1ull << 31, .link_Bps = 0.01 };

	s.round = 30;
	s.written_pages = s.total_pages;
	struct pol_answer a = pol_decide(&s);

	CHECK(a.degraded_us == 1000000000000000ull, "a link of nothing");
}

/* Slowed down it converges, when that was allowed; the rest is as without. */
static void throttling(void)
{
	struct policy p;

	pol_init(&p);
	p.v.mode = POL_PRE_COPY;
	struct sim_result without = run("constant-fast", &p.v, 0, 1000);

	CHECK(without.slow_percent == 0 && without.taken_s == 0, "never unless it is allowed");
	p.v.throttle_max_percent = 95;
	struct sim_result r = run("constant-fast", &p.v, 0, 1000);

	CHECK(r.slow_percent > 0 && r.taken_s > 0, "faster than the link: it is slowed down");
	CHECK(r.downtime_s < 0.5 * without.downtime_s && r.verdict == POL_FINISH, "and pays");
	p.v.throttle_max_percent = 30;
	r = run("constant-fast", &p.v, 0, 1000);
	CHECK(r.slow_percent <= 30, "no more than allowed");
	p.v.throttle_max_percent = 95;
	r = run("idle", &p.v, 0, 1000);
	CHECK(r.slow_percent == 0 && r.rounds == 1, "an idle one is left alone");
	r = run("constant-slow", &p.v, 0, 1000);
	CHECK(r.slow_percent == 0, "so is one that converges");
}

/* Without a deadline these take longer. */
static void deadlines(void)
{
	static const char *const names[] = { "phased", "bursty", "growing", "constant-middle" };
	struct policy p;

	pol_init(&p);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (unsigned int s = 12; s <= 20; s += 4) {
			p.v.deadline_s = s;
			struct sim_result r = run(names[i], &p.v, 0, 1000);

			CHECK(r.total_s <= s, "a deadline is kept");
		}
	p.v.deadline_s = 8; /* less than all memory takes: then the less downtime the better */
	struct sim_result r = run("idle", &p.v, 0, 1000);

	CHECK(r.verdict != POL_GIVE_UP && r.total_s < 9.5, "a deadline that cannot be kept");
}

/* The predicted downtime at the decision and the one that follows from the trace. */
static void predictions(void)
{
	struct policy p;

	pol_init(&p);
	for (size_t i = 0; i < ARRAY_SIZE(syn_traces); i++) {
		struct sim_result r = run(syn_traces[i].name, &p.v, 3, 1000);

		CHECK(fabs(r.predicted_downtime_s - r.downtime_s) <= 0.3 * r.downtime_s,
		      "predicted");
	}
}

/* The curve, and what a trace says of pages written, against a plain count. */
static void curves(void)
{
	struct pol_curve c = { 0 };

	for (unsigned int ms = 10; ms <= 1000; ms += 10)
		curve_add(&c, ms * 1000, ms * 7);
	CHECK(fabs(curve_at(&c, 2e6, 1e9) - 14000) < 200, "a straight line goes on");
	CHECK(fabs(curve_at(&c, 5e4, 1e9) - 350) < 20, "and back");
	CHECK(curve_at(&c, 2e6, 9000) == 9000, "up to all memory");
	c.n = 0;
	for (unsigned int ms = 10; ms <= 1000; ms += 10)
		curve_add(&c, ms * 1000, 5000);
	CHECK(fabs(curve_at(&c, 1e3, 1e9) - 5000) < 1, "a floor stays");
	CHECK(c.n <= POL_CURVE_POINTS, "no more points than there is room for");
	c.n = 0;
	for (unsigned int i = 1; i <= 3; i++)
		curve_add(&c, 100, i * 100);
	curve_add(&c, 50, 400);
	curve_add(&c, 50, 400);
	CHECK(c.n == 1 && curve_at(&c, 100, 1e9) == 800, "times that go back");
}

#define COUNT_PAGES   500u
#define COUNT_SAMPLES 60u

static void counts(void)
{
	static bool wrote[COUNT_SAMPLES][COUNT_PAGES];
	AUTO(ages) struct ages *a = NULL;
	struct err e = ERR_INIT;
	struct trace t = { .sample_us = 1000 };

	if (ages_new(&a, &e) < 0)
		exit(1);
	srand(7);
	for (unsigned int s = 0; s < COUNT_SAMPLES; s++) {
		for (int k = rand() % 80; k; k--) {
			unsigned int page = (unsigned int)(rand() %
			                                   (rand() % 2 ? 20 : COUNT_PAGES));

			wrote[s][page] = true;
			ages_touch(a, 1, page * 4096ull, 1);
		}
		if (trace_add(&t, a, 0, NULL, &e) < 0)
			exit(1);
	}
	for (unsigned int from = 0; from < COUNT_SAMPLES; from += 3)
		for (unsigned int to = from + 1; to <= COUNT_SAMPLES; to += 4)
			for (unsigned int since = 0; since <= from; since += 5) {
				unsigned int n = 0, again = 0;

				for (unsigned int p = 0; p < COUNT_PAGES; p++) {
					bool in = false, before = false;

					for (unsigned int s = since; s < from; s++)
						before |= wrote[s][p];
					for (unsigned int s = from; s < to; s++)
						in |= wrote[s][p];
					n += in;
					again += in && before;
				}
				CHECK(fabs(trace_written(&t, from * 1e3, to * 1e3) - n) < 0.01,
				      "pages written");
				CHECK(fabs(trace_rewritten(&t, since * 1e3, from * 1e3, to * 1e3) -
				           again) < 0.01,
				      "pages written again");
			}
	struct trace tail;

	CHECK(trace_tail(&t, 20000, &tail, &e) == 0 && tail.n == 20, "the tail");
	for (unsigned int from = 0; from < 20; from++)
		for (unsigned int to = from + 1; to <= 20; to++)
			CHECK(fabs(trace_written(&tail, from * 1e3, to * 1e3) -
			           trace_written(&t, (from + 40) * 1e3, (to + 40) * 1e3)) < 0.01,
			      "the tail's pages");
	CHECK(fabs(trace_written(&tail, 5e3, 25e3) - trace_written(&tail, 5e3, 1e12)) < 0.01,
	      "a pass and more");
	trace_fini(&tail);
	trace_fini(&t);
}

/* Each with its file, line and reason. */
static void bad_files(const char *path)
{
#define S "haul-trace 1\nsample-us 5000\n"
	static const char *const bad[][2] = {
		{ "", ": no samples" },
		{ "nonsense\n", ":1: not a trace of haul watch" },
		{ S, ": no samples" },
		{ "haul-trace 1\nsample-us 1\n1 1\n",
		  ":2: sample-us: 1 is not from 1000 to 60000000" },
		{ "haul-trace 1\n1 1\n", ":2: a sample before the line \"sample-us\"" },
		{ S "sample-us 5000\n1 1\n", ":3: sample-us: twice" },
		{ S "1 1\ntasks 3\n", ":4: tasks: behind a sample" },
		{ S "tasks 3x\n", ":3: tasks: \"x\" behind the number" },
		{ S "1\n", ":3: pages written for the first time: a number is missing" },
		{ S "1 1 1:1\n", ":3: age: 1 is not from 1 to 0" },
		{ S "1 1\n1 1 -1:1\n", ":4: age: a number is missing" },
		{ S "1 1\n1 1 1 1\n", ":4: no ':' behind age 1" },
		{ S "1 1\n1 2000000000 1:2000000000\n",
		  ":4: pages: 2000000000 is not from 0 to 147483647" },
		{ S "1 1 \n", ":3: age: a number is missing" },
		{ S "1 1x\n", ":3: \"x\" behind the last number" },
		{ S "1 99999999999\n",
		  ":3: pages written for the first time: 99999999999 is not from 0" },
	};
#undef S
	struct trace back;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		FILE *f = fopen(path, "w");

		fputs(bad[i][0], f);
		fclose(f);
		struct err why = ERR_INIT;

		CHECK(trace_load(&back, path, &why) < 0 && !strncmp(why.msg, path, strlen(path)) &&
		              !strncmp(why.msg + strlen(path), bad[i][1], strlen(bad[i][1])),
		      "%s", bad[i][1]);
	}
	FILE *f = fopen(path, "w");

	fputs("haul-trace 1\nsample-us 1000\n", f);
	for (unsigned int i = 0; i <= TRACE_SAMPLES_MAX; i++)
		fputs("1 0\n", f);
	fclose(f);
	struct err why = ERR_INIT, dir = ERR_INIT;

	CHECK(trace_load(&back, path, &why) < 0 && strstr(why.msg, ":8195: more than 8192 samples"),
	      "too long");
	CHECK(trace_load(&back, "/", &dir) < 0 && strstr(dir.msg, "directory"), "a directory");
}

static void files(void)
{
	char path[] = "/tmp/haul-trace.XXXXXX";
	int fd = mkstemp(path);
	const struct trace *t = program("bursty");
	struct trace back;
	struct err e = ERR_INIT;

	CHECK(fd >= 0 && trace_save(t, path, &e) == 0, "save");
	CHECK(trace_load(&back, path, &e) == 0 && back.n == t->n, "load");
	for (double at = 0; at < 60e6; at += 3.3e6)
		CHECK(fabs(trace_written(t, at, at + 7e6) - trace_written(&back, at, at + 7e6)) <
		              0.01,
		      "the same");
	trace_fini(&back);
	bad_files(path);
	unlink(path);
	close(fd);
}

/* Without a tracker: the mode and the limits are kept all the same. */
static struct pol_answer untracked(enum pol_mode mode, double mib, unsigned int max_ms,
                                   unsigned int degraded_s, unsigned int mbit)
{
	struct policy p;
	struct pol_state s = { .opt = &p.v, .no_rounds = true, .freeze_us = 30000 };

	pol_init(&p);
	p.v.mode = mode;
	p.v.downtime_max_ms = max_ms;
	p.v.degraded_max_s = degraded_s;
	p.v.bandwidth_limit_mbit = mbit;
	s.total_pages = s.written_pages = (uint64_t)(mib * 256);
	return pol_decide(&s);
}

static void no_rounds(void)
{
	CHECK(untracked(POL_AUTO, 0.5, 0, 0, 0).verdict == POL_FINISH, "small: stop and copy");
	CHECK(untracked(POL_AUTO, 1024, 0, 0, 0).verdict == POL_SWITCH, "large: post-copy");
	CHECK(untracked(POL_PRE_COPY, 1024, 0, 0, 0).verdict == POL_FINISH,
	      "pre-copy stops and copies");
	CHECK(untracked(POL_HYBRID, 1, 0, 0, 0).verdict == POL_SWITCH, "hybrid is post-copy");
	CHECK(untracked(POL_POST_COPY, 1, 0, 0, 0).verdict == POL_SWITCH, "post-copy");
	CHECK(untracked(POL_PRE_COPY, 64, 1000, 0, 0).verdict == POL_GIVE_UP, "downtime-max-ms");
	CHECK(untracked(POL_PRE_COPY, 8, 1000, 0, 0).verdict == POL_FINISH, "and where it is kept");
	CHECK(untracked(POL_PRE_COPY, 8, 1000, 0, 10).verdict == POL_GIVE_UP, "at a limit");
	CHECK(untracked(POL_HYBRID, 1024, 0, 5, 0).verdict == POL_GIVE_UP, "degraded-max-s");
}

/* What fits into the downtime limit on an unknown link does not at 1 Mbit/s. */
static void tiny_at_a_limit(void)
{
	struct policy p;
	struct pol_state s = { .opt = &p.v, .total_pages = 500, .written_pages = 500 };

	pol_init(&p);
	CHECK(pol_decide(&s).verdict == POL_FINISH, "tiny");
	p.v.bandwidth_limit_mbit = 1;
	CHECK(pol_decide(&s).verdict == POL_ROUND, "tiny at a limit");
}

int main(void)
{
	no_rounds();
	tiny_at_a_limit();
	curves();
	counts();
	files();
	kinds_of_programs();
	limits();
	forbidden_stops();
	shared_memory();
	ways_to_look();
	learned_costs();
	tiny_ones();
	slow_links();
	throttling();
	deadlines();
	predictions();
	return checks_end();
}
