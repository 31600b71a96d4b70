// SPDX-License-Identifier: GPL-2.0-or-later
/* policy.c - haul policy: list, show, explain, check, simulate; and the policy of a move. */
#include "hauler/cli/cli.h"
#include "hauler/cli/command.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/printable.h"
#include "hauler/options/lists.h"
#include "hauler/report/say.h"
#include "policies/trace.h"

/* What a simulated round costs apart from pages; of a real one it is measured. */
#define SIM_ROUND_BASE_US 10000

/* ---- the policy of this command line ---- */

static int load(struct policy *p, const char *word, struct err *e)
{
	int r = pol_load(p, word, e);

	return r < 0 ? r : lists_check(p, e);
}

/* Of this name, with the options of the command line in it. */
static int load_with(const struct opts *o, const char *word, struct policy *p, struct err *e)
{
	int r = load(p, word ? word : "default", e);

	for (size_t i = 0; r == 0 && i < POL_NOPTIONS; i++)
		if (o->row_text[i])
			r = pol_set_text(p, i, o->row_text[i], e);
	return r < 0 ? r : pol_contradiction(p, e);
}

/* What the policy lists comes before what the command line has: of two rules the last counts. */
static int take_lists(struct opts *o, struct err *e)
{
	const struct pol_texts *moves = &o->pol.list[POL_MOVE_ADDRESS],
	                       *maps = &o->pol.list[POL_MAP];
	struct out_rules given = o->net.rules;
	int r = 0;

	for (size_t i = 0; r == 0 && i < moves->n; i++)
		if (net_opts_move(&o->net, moves->v[i], e) < 0)
			r = lists_err(&o->pol, POL_MOVE_ADDRESS, i, e);
	o->net.rules.n = 0;
	for (size_t i = 0; r == 0 && i < maps->n; i++)
		if (out_rule_add(&o->net.rules, maps->v[i], e) < 0)
			r = lists_err(&o->pol, POL_MAP, i, e);
	for (size_t i = 0; r == 0 && i < given.n; i++)
		r = o->net.rules.n < OUT_RULES_MAX
		            ? (o->net.rules.v[o->net.rules.n++] = given.v[i], 0)
		            : err_set(e, ERR_USER, E2BIG, "more than %d rules", OUT_RULES_MAX);
	o->net.rules.close_stray = o->pol.v.stray == POL_STRAY_CLOSE;
	return r;
}

static int take_trees(struct opts *o, struct err *e)
{
	const struct pol_texts *dirs = &o->pol.list[POL_FS], *not = &o->pol.list[POL_EXCLUDE];
	int r = 0;

	if (!o->fs.from_policy)
		return 0;
	if (!dirs->n) {
		err_set(e, ERR_USER, EINVAL, "--fs-from-policy: policy %s lists no directories",
		        o->pol.name);
		return err_fix(e, "its key \"fs\" is a list of them");
	}
	for (size_t i = 0; r == 0 && i < dirs->n; i++)
		if (dirs_opts_add(&o->fs, dirs->v[i], e) < 0)
			r = lists_err(&o->pol, POL_FS, i, e);
	for (size_t i = 0; r == 0 && i < not ->n; i++)
		r = dirs_opts_exclude(&o->fs, not ->v[i], e);
	return r;
}

static int load_all(struct opts *o, struct err *e)
{
	int r = load_with(o, o->policy, &o->pol, e);

	if (r < 0)
		return r;
	r = take_lists(o, e);
	return r < 0 ? r : take_trees(o, e);
}

int policy_load(struct opts *o)
{
	struct err e = ERR_INIT;
	int r = load_all(o, &e);

	if (r < 0)
		report_error(&e, false);
	return r;
}

bool policy_given(const struct opts *o, const char *name)
{
	for (unsigned int i = 0; i < o->n_given; i++)
		if (!o->given[i].row && !strcmp(o->given[i].name, name))
			return true;
	return false;
}

/* ---- list, show, explain, check, schema ---- */

/* A file's name need not be text. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("?");
}

static void say_json(json_t *o)
{
	say_event(o, (struct say_how){ .json = true });
}

static int list(struct opts *o, int argc, char **argv)
{
	size_t n;
	char **names = pol_names(&n);
	int rc = EXIT_OK;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (load(&p, names[i], &e) < 0) {
			report_error(&e, o->json);
			rc = EXIT_USAGE;
		} else if (o->json) {
			say_json(json_pack("{s:s, s:o, s:o}", "event", "policy", "policy",
			                   text(p.name), "meaning", text(p.meaning)));
		} else {
			printf("%-16s %s\n", p.name, p.meaning);
		}
	}
	pol_names_free(names, n);
	return rc;
}

static json_t *value(const struct policy *p, size_t row)
{
	unsigned int v = pol_get(p, row);

	return pol_table[row].words ? json_string(pol_table[row].words[v]) : json_integer(v);
}

static void add_lists(json_t *j, const struct policy *p)
{
	for (size_t i = 0; i < POL_NLISTS; i++) {
		json_t *a = p->list[i].n ? json_array() : NULL;

		for (size_t k = 0; k < p->list[i].n; k++)
			json_array_append_new(a, text(p->list[i].v[k]));
		if (a)
			json_object_set_new(j, pol_lists[i].name, a);
	}
}

static void show(const struct opts *o, const struct policy *p)
{
	json_t *j = json_object();

	if (p->meaning[0])
		json_object_set_new(j, "meaning", text(p->meaning));
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		json_object_set_new(j, pol_table[i].name, value(p, i));
	add_lists(j, p);
	char *all = json_dumps(j, JSON_ENSURE_ASCII | (o->json ? JSON_COMPACT : JSON_INDENT(2)));

	if (all)
		puts(all);
	free(all);
	json_decref(j);
}

static void from_text(const struct policy *p, size_t row, char *out, size_t bytes)
{
	if (p->from[row] == POL_FROM_DEFAULT || p->from[row] == POL_FROM_COMMAND)
		snprintf(out, bytes, "%s", p->from[row] ? "command line" : "default");
	else
		snprintf(out, bytes, "line %u", p->from[row]);
}

static void explain_json(const struct policy *p)
{
	json_t *j = json_pack("{s:s, s:o, s:o, s:o}", "event", "policy", "policy", text(p->name),
	                      "meaning", text(p->meaning), "file", text(p->path)),
	       *rows = json_array();

	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		char from[32];

		from_text(p, i, from, sizeof(from));
		json_array_append_new(rows, json_pack("{s:s, s:o, s:s, s:s, s:s}", "name",
		                                      pol_table[i].name, "value", value(p, i),
		                                      "unit", pol_table[i].unit, "from", from,
		                                      "meaning", pol_table[i].meaning));
	}
	json_object_set_new(j, "options", rows);
	add_lists(j, p);
	say_json(j);
}

static void explain(const struct opts *o, const struct policy *p)
{
	if (o->json) {
		explain_json(p);
		return;
	}
	printf("%s%s%s\n", p->name, p->meaning[0] ? ": " : "", p->meaning);
	if (p->path[0])
		printf("from %s\n", p->path);
	putchar('\n');
	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		char v[64], from[32];

		pol_value_text(p, i, v, sizeof(v));
		from_text(p, i, from, sizeof(from));
		printf("  %-24s %-14s %-12s %s\n", pol_table[i].name, v, from,
		       pol_table[i].meaning);
	}
	for (size_t i = 0; i < POL_NLISTS; i++)
		for (size_t k = 0; k < p->list[i].n; k++) {
			char item[POL_TEXT_BYTES];

			memcpy(item, p->list[i].v[k], sizeof(item));
			printable(item);
			printf("  %-24s %s\n", pol_lists[i].name, item);
		}
	printf("\nAfter each round, and in it, haul compares the cost of stopping now with the "
	       "least that\n"
	       "more rounds are expected to end with: seconds stopped + %u %% of seconds in "
	       "post-copy\n"
	       "+ %u %% of seconds of the whole.\n",
	       p->v.degraded_weight_percent, p->v.total_weight_percent);
}

/* @word: POLICY, if it was given */
static int with_policy(const struct opts *o, const char *word,
                       void (*fn)(const struct opts *, const struct policy *))
{
	struct policy p;
	struct err e = ERR_INIT;

	if (word && o->policy) {
		fprintf(stderr, "haul: which one? %s, or --policy=%s\n", word, o->policy);
		return EXIT_USAGE;
	}
	if (load_with(o, word ? word : o->policy, &p, &e) < 0) {
		report_error(&e, o->json);
		return EXIT_USAGE;
	}
	fn(o, &p);
	return EXIT_OK;
}

static int show_one(struct opts *o, int argc, char **argv)
{
	return with_policy(o, argc ? argv[0] : NULL, show);
}

static int explain_one(struct opts *o, int argc, char **argv)
{
	return with_policy(o, argc ? argv[0] : NULL, explain);
}

static int check(struct opts *o, int argc, char **argv)
{
	int rc = EXIT_OK;

	for (int i = 0; i < argc; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (load(&p, argv[i], &e) < 0) {
			report_error(&e, o->json);
			rc = EXIT_USAGE;
		} else if (o->json) {
			say_json(json_pack("{s:s, s:o}", "event", "good", "file", text(argv[i])));
		} else {
			printf("%s: good\n", argv[i]);
		}
	}
	return rc;
}

static int schema(struct opts *o, int argc, char **argv)
{
	char *all = pol_schema();

	(void)o;
	(void)argc;
	(void)argv;
	if (all)
		puts(all);
	free(all);
	return all ? EXIT_OK : EXIT_FAILED;
}

/* ---- what would a policy do? ---- */

static void sim_of(const struct policy *p, const struct trace *t, unsigned int mbit,
                   struct sim_result *r)
{
	unsigned int limit = p->v.bandwidth_limit_mbit;
	struct pol_size z = t->of;

	z.pages = trace_pages(t, 0);
	struct sim_setup set = { .trace = t,
		                 .opt = &p->v,
		                 .link_Bps = (limit && limit < mbit ? limit : mbit) * 1e6 / 8,
		                 .freeze_us = pol_freeze_us(&z),
		                 .fixed_pages = z.fixed_pages,
		                 .round_base_us = SIM_ROUND_BASE_US };

	sim_run(&set, NULL, NULL, r);
}

static void sim_row_json(const char *name, const struct sim_result *r)
{
	say_json(json_pack("{s:s, s:o, s:i, s:s, s:f, s:f, s:f, s:f, s:i, s:s}", "event",
	                   "prediction", "policy", text(name), "rounds", (int)r->rounds, "verdict",
	                   pol_verdict_name(r->verdict), "total_s", r->total_s, "downtime_s",
	                   r->downtime_s, "degraded_s", r->degraded_s, "sent_bytes", r->sent_bytes,
	                   "throttle_percent", (int)r->slow_percent, "why", r->why));
}

static void sim_row(const char *name, const struct sim_result *r)
{
	printf("%-16s %6u  %-8s %9.2f %11.0f %12.2f %9.0f  %s", name, r->rounds,
	       pol_verdict_name(r->verdict), r->total_s, r->downtime_s * 1e3, r->degraded_s,
	       r->sent_bytes / 1048576.0, r->why);
	printf(r->slow_percent ? " (throttled by %u %%)\n" : "\n", r->slow_percent);
}

static void sim_one(const struct opts *o, const char *name, const struct policy *p,
                    const struct trace *t)
{
	struct sim_result r;

	sim_of(p, t, o->watch.bandwidth_mbit, &r);
	(o->json ? sim_row_json : sim_row)(name, &r);
}

static void sim_broken(const struct opts *o, const char *name, const struct err *e)
{
	if (o->json)
		say_json(json_pack("{s:s, s:o, s:o}", "event", "prediction", "policy", text(name),
		                   "error", text(e->msg)));
	else
		printf("%-16s %s\n", name, e->msg);
}

/* Has the command line one of its own? */
static bool picked(const struct opts *o)
{
	bool yes = o->policy;

	for (size_t i = 0; i < POL_NOPTIONS; i++)
		yes |= o->row_text[i] != NULL;
	return yes;
}

int policy_pick(struct opts *o)
{
	struct err e = ERR_INIT;

	if (!picked(o) || load_with(o, o->policy, &o->pol, &e) == 0)
		return 0;
	report_error(&e, o->json);
	return -e.code;
}

int policy_table(const struct opts *o, const struct trace *t)
{
	size_t n = 0;
	char **names = picked(o) ? NULL : pol_names(&n);
	int rc = EXIT_OK;

	if (!o->json)
		printf("%-16s %6s  %-8s %9s %11s %12s %9s\n", "policy", "rounds", "end", "total s",
		       "downtime ms", "post-copy s", "MiB");
	if (picked(o))
		sim_one(o, o->policy ? o->pol.name : "default+options", &o->pol, t);
	for (size_t i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (load(&p, names[i], &e) == 0) {
			sim_one(o, p.name, &p, t);
			continue;
		}
		sim_broken(o, names[i], &e);
		rc = EXIT_USAGE;
	}
	pol_names_free(names, n);
	return rc;
}

static int simulate(struct opts *o, int argc, char **argv)
{
	struct trace t;
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (!o->watch.trace) {
		fputs("haul: policy simulate needs --trace=FILE (haul watch --record makes one)\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (policy_pick(o) < 0)
		return EXIT_USAGE;
	if (trace_load(&t, o->watch.trace, &e) < 0) {
		report_error(&e, o->json);
		return EXIT_USAGE;
	}
	double seconds = t.n * (t.sample_us / 1e6);

	printable(t.title);
	if (o->json)
		say_json(json_pack("{s:s, s:o, s:f, s:i}", "event", "trace", "title", text(t.title),
		                   "seconds", seconds, "bandwidth_mbit",
		                   (int)o->watch.bandwidth_mbit));
	else
		printf("%s: %.1f s, at %u Mbit/s\n", t.title, seconds, o->watch.bandwidth_mbit);
	int rc = policy_table(o, &t);

	trace_fini(&t);
	return rc;
}

/* ---- the words ---- */

static const struct command rows[] = {
	{ .word = "list",
	  .takes = "",
	  .options = "json",
	  .run = list,
	  .help = "list the policies that have a name" },
	{ .word = "show",
	  .takes = "[POLICY]",
	  .max = 1,
	  .options = "json policy",
	  .policy_options = true,
	  .run = show_one,
	  .help = "print all its values as a policy file" },
	{ .word = "explain",
	  .takes = "[POLICY]",
	  .max = 1,
	  .options = "json policy",
	  .policy_options = true,
	  .run = explain_one,
	  .help = "say where each value comes from and what it means" },
	{ .word = "check",
	  .takes = "FILE...",
	  .min = 1,
	  .max = INT_MAX,
	  .options = "json",
	  .run = check,
	  .help = "look for faults in policy files" },
	{ .word = "schema",
	  .takes = "",
	  .options = "json",
	  .run = schema,
	  .help = "print the JSON Schema of policy files" },
	{ .word = "simulate",
	  .takes = "--trace=FILE",
	  .options = "json policy trace bandwidth",
	  .policy_options = true,
	  .run = simulate,
	  .help = "say what each policy would do with a recorded program" },
};

static const struct command_table commands = { "haul policy", rows, ARRAY_SIZE(rows) };

int cli_policy(struct opts *o, int argc, char **argv)
{
	return command_main(&commands, o, argc, argv);
}
