/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trace.h - what a program wrote, when; and what a migration of it would have been.
 *
 * A trace holds for each sample how many pages were written, by their age: how many
 * samples ago the same page was written before. That is little, and yet enough to know
 * exactly how many different pages were written between any two samples: those whose
 * former write is before the first.
 */
#ifndef HAUL_TRACE_H
#define HAUL_TRACE_H

#include "common/auto.h"
#include "policies/policies.h"

/* ---- ages.c: from pages to ages ---- */

struct ages;

/**
 * ages_touch() - pages written in this sample; twice is once
 * @obj: the process
 * Return: 0; -ENOMEM
 */
int ages_new(struct ages **out, struct err *e);
/** ages_touch() - @pages from @vaddr on of object @obj were written. Return: 0; -ENOMEM */
int ages_touch(struct ages *a, uint64_t obj, uint64_t vaddr, uint64_t pages);
/** ages_present() - pages that are there, but not written since the trace began */
int ages_present(struct ages *a, uint64_t obj, uint64_t vaddr, uint64_t pages);
void ages_free(struct ages *a);
DEFINE_AUTO(ages, ages_free)

/* ---- trace.c ---- */

#define TRACE_SAMPLES_MAX   8192u
#define TRACE_SAMPLE_US_MIN 1000u

struct trace_sample {
	uint32_t written, never; /* never: of these, not before in this trace */
	uint32_t *older; /* [k], k up to its number: written before, more than k samples ago */
	uint32_t total_pages; /* that are there at its end */
};

struct trace {
	char title[160];
	uint32_t sample_us;
	uint32_t n;
	uint32_t dropped; /* before the first */
	struct trace_sample *v;
	struct pol_size of; /* of the program; its pages are in the samples */
};

/**
 * trace_span() - before the pages of a sample are told: it is @n samples long, and will be
 * as many; the oldest ones make room
 * Return: @n, or less when that is too long
 */
uint32_t trace_span(struct trace *t, struct ages *a, uint32_t n);

/**
 * trace_add() - end the sample: what @a was told since the last goes into @t
 * @total_pages: that are there now; 0: all that @a was ever told of
 * @curve: what was seen of it since it began; NULL: nothing
 */
int trace_add(struct trace *t, struct ages *a, uint64_t total_pages, const struct pol_curve *curve,
              struct err *e);
/** trace_save() - write it to the file @path. Return: 0; -errno with a reason */
int trace_save(const struct trace *t, const char *path, struct err *e);
/** trace_load() - Return: 0; -errno with file, line (not of an unreadable file) and reason */
int trace_load(struct trace *t, const char *path, struct err *e);
void trace_fini(struct trace *t);
/** trace_tail() - its last @us, as a trace. Return: 0; -ENOMEM */
int trace_tail(const struct trace *t, uint64_t us, struct trace *out, struct err *e);

/* Times are counted on behind the end of a trace: then it begins again. */

/** trace_written() - different pages written between two times */
double trace_written(const struct trace *t, double from_us, double to_us);
/** trace_rewritten() - of these, the ones also written between @since_us and @from_us */
double trace_rewritten(const struct trace *t, double since_us, double from_us, double to_us);
/** trace_pages() - that were there */
uint64_t trace_pages(const struct trace *t, double at_us);

/* ---- sim.c ---- */

struct sim_setup {
	const struct trace *trace;
	const struct pol_options *opt;
	double start_us; /* of the migration, in the trace */
	double link_Bps;
	uint64_t freeze_us, round_base_us;
	uint64_t fixed_pages; /* they travel while it is stopped */
	bool sends_twice; /* sends pages that are written again before their turn, too, as other tools do */
};

/* A rule: the hauler's, or one that it is compared with. */
typedef struct pol_answer (*sim_rule)(void *arg, const struct pol_state *s);

struct sim_result {
	enum pol_verdict verdict;
	unsigned int rounds;
	bool forced; /* a rule other than the hauler's did not end within SIM_LIMIT_S */
	double total_s, downtime_s, degraded_s, sent_bytes;
	double predicted_downtime_s;
	unsigned int slow_percent; /* at its end */
	double taken_s; /* of the program's time, by that */
	const char *why;
};

#define SIM_LIMIT_S 120.0

/** sim_run() - one migration, by @rule; NULL: pol_decide() */
void sim_run(const struct sim_setup *set, sim_rule rule, void *arg, struct sim_result *out);

#endif
