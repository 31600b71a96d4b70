// SPDX-License-Identifier: GPL-2.0-or-later
/* cmd_policy.c - haul policy: list, show, explain, check, simulate; and the policy of a move. */
#include "hauler/cmd.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "policies/trace.h"

/* What a simulated round costs apart from pages; of a real one it is measured. */
#define SIM_ROUND_BASE_US 10000

/* ---- the policy of this command line ---- */

static void say(const struct err *e)
{
	fprintf(stderr, "haul: %s\n", e->msg);
	if (e->fix[0])
		fprintf(stderr, "      remedy: %s\n", e->fix);
}

static int overlay(const struct opts *o, struct policy *p, struct err *e)
{
	int r = 0;

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
		r = net_opts_move(&o->net, moves->v[i], e);
	o->net.rules.n = 0;
	for (size_t i = 0; r == 0 && i < maps->n; i++)
		r = out_rule_add(&o->net.rules, maps->v[i], e);
	if (r < 0)
		return err_wrap(e, "%s", o->pol.path);
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
		r = fs_option_dir(&o->fs, dirs->v[i], e);
	for (size_t i = 0; r == 0 && i < not ->n; i++)
		r = fs_option_exclude(&o->fs, not ->v[i], e);
	return r < 0 ? err_wrap(e, "%s", o->pol.path) : 0;
}

int cmd_policy_load(struct opts *o)
{
	struct err e = ERR_INIT;
	int r = pol_load(&o->pol, o->policy ? o->policy : "default", &e);

	if (r == 0)
		r = overlay(o, &o->pol, &e);
	if (r == 0)
		r = take_lists(o, &e);
	if (r == 0)
		r = take_trees(o, &e);
	if (r < 0)
		say(&e);
	return r;
}

/* ---- list, show, explain, check ---- */

static int list(const struct opts *o)
{
	size_t n;
	char **names = pol_names(&n);
	int rc = EXIT_OK;

	(void)o;
	for (size_t i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (pol_load(&p, names[i], &e) < 0) {
			say(&e);
			rc = EXIT_USAGE;
			continue;
		}
		printf("%-16s %s\n", p.name, p.meaning);
	}
	pol_names_free(names, n);
	return rc;
}

static int show(const struct opts *o, const struct policy *p)
{
	json_t *j = json_object();

	(void)o;
	if (p->meaning[0])
		json_object_set_new(j, "meaning", json_string(p->meaning));
	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		unsigned int v = pol_get(p, i);

		json_object_set_new(j, pol_table[i].name,
		                    pol_table[i].words ? json_string(pol_table[i].words[v])
		                                       : json_integer(v));
	}
	for (size_t i = 0; i < POL_NLISTS; i++) {
		json_t *a = p->list[i].n ? json_array() : NULL;

		for (size_t k = 0; k < p->list[i].n; k++)
			json_array_append_new(a, json_string(p->list[i].v[k]));
		if (a)
			json_object_set_new(j, pol_lists[i].name, a);
	}
	char *text = json_dumps(j, JSON_INDENT(2));

	if (text)
		puts(text);
	free(text);
	json_decref(j);
	return EXIT_OK;
}

static int explain(const struct opts *o, const struct policy *p)
{
	(void)o;
	printf("%s%s%s\n", p->name, p->meaning[0] ? ": " : "", p->meaning);
	if (p->path[0])
		printf("from %s\n", p->path);
	putchar('\n');
	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		char v[64], from[32];

		pol_value_text(p, i, v, sizeof(v));
		snprintf(from, sizeof(from), "line %u", p->from[i]);
		printf("  %-24s %-14s %-12s %s\n", pol_table[i].name, v,
		       p->from[i] == POL_FROM_DEFAULT   ? "default"
		       : p->from[i] == POL_FROM_COMMAND ? "command line"
		                                        : from,
		       pol_table[i].meaning);
	}
	for (size_t i = 0; i < POL_NLISTS; i++)
		for (size_t k = 0; k < p->list[i].n; k++)
			printf("  %-24s %s\n", pol_lists[i].name, p->list[i].v[k]);
	printf("\nAfter each round, and in it, haul compares the cost of stopping now with the "
	       "least that\n"
	       "more rounds are expected to end with: seconds stopped + %u %% of seconds in "
	       "post-copy\n"
	       "+ %u %% of seconds of the whole.\n",
	       p->v.degraded_weight_percent, p->v.total_weight_percent);
	return EXIT_OK;
}

static int check(int n, char **files)
{
	int rc = EXIT_OK;

	for (int i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (pol_load(&p, files[i], &e) < 0) {
			say(&e);
			rc = EXIT_USAGE;
		} else {
			printf("%s: good\n", files[i]);
		}
	}
	return rc;
}

static int schema(void)
{
	char *text = pol_schema();

	if (text)
		puts(text);
	free(text);
	return text ? EXIT_OK : EXIT_FAILED;
}

/* ---- what would a policy do? ---- */

static void sim_head(void)
{
	printf("%-16s %6s  %-8s %9s %11s %12s %9s\n", "policy", "rounds", "end", "total s",
	       "downtime ms", "post-copy s", "MiB");
}

static void sim_row(const struct policy *p, const struct trace *t, unsigned int mbit)
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
	struct sim_result r;

	sim_run(&set, NULL, NULL, &r);
	printf("%-16s %6u  %-8s %9.2f %11.0f %12.2f %9.0f  %s", p->name, r.rounds,
	       pol_verdict_name(r.verdict), r.total_s, r.downtime_s * 1e3, r.degraded_s,
	       r.sent_bytes / 1048576.0, r.why);
	printf(r.slow_percent ? " (throttled by %u %%)\n" : "\n", r.slow_percent);
}

void cmd_policies_now(const struct trace *t, unsigned int mbit)
{
	size_t n;
	char **names = pol_names(&n);

	sim_head();
	for (size_t i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;

		if (pol_load(&p, names[i], &e) == 0)
			sim_row(&p, t, mbit);
	}
	pol_names_free(names, n);
}

static int simulate(struct opts *o)
{
	struct trace t;
	struct err e = ERR_INIT;

	if (!o->trace) {
		fputs("haul: policy simulate needs --trace=FILE (haul watch --record makes one)\n",
		      stderr);
		return EXIT_USAGE;
	}
	if (cmd_policy_load(o) < 0)
		return EXIT_USAGE;
	if (trace_load(&t, o->trace, &e) < 0) {
		say(&e);
		return EXIT_USAGE;
	}
	printf("%s: %.1f s, at %u Mbit/s\n", t.title, t.n * (t.sample_us / 1e6), o->bandwidth_mbit);
	if (o->policy) {
		sim_head();
		sim_row(&o->pol, &t, o->bandwidth_mbit);
	} else {
		cmd_policies_now(&t, o->bandwidth_mbit);
	}
	trace_fini(&t);
	return EXIT_OK;
}

/* ---- the words ---- */

static int with_policy(struct opts *o, const char *word,
                       int (*fn)(const struct opts *, const struct policy *))
{
	struct policy p;
	struct err e = ERR_INIT;

	if (!word)
		return cmd_policy_load(o) < 0 ? EXIT_USAGE : fn(o, &o->pol);
	if (pol_load(&p, word, &e) < 0 || overlay(o, &p, &e) < 0) {
		say(&e);
		return EXIT_USAGE;
	}
	return fn(o, &p);
}

int cmd_policy(struct opts *o, int argc, char **argv)
{
	const char *word = argc == 2 ? argv[1] : NULL;

	if (!strcmp(argv[0], "list") && argc == 1)
		return list(o);
	if (!strcmp(argv[0], "show") && argc <= 2)
		return with_policy(o, word, show);
	if (!strcmp(argv[0], "explain") && argc <= 2)
		return with_policy(o, word, explain);
	if (!strcmp(argv[0], "check") && argc >= 2)
		return check(argc - 1, argv + 1);
	if (!strcmp(argv[0], "schema") && argc == 1)
		return schema();
	if (!strcmp(argv[0], "simulate") && argc == 1)
		return simulate(o);
	fputs("haul: policy list | show [POLICY] | explain [POLICY] | check FILE... | schema | "
	      "simulate --trace=FILE\n",
	      stderr);
	return EXIT_USAGE;
}
