/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policies.h - what an operator may ask for, and the decision; nothing here measures or acts. */
#ifndef HAUL_POLICIES_H
#define HAUL_POLICIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define POL_PAGE_BYTES 4096.0

/* ---- options.c: one table declares them all ---- */

enum pol_mode { POL_AUTO, POL_STOP_COPY, POL_PRE_COPY, POL_POST_COPY, POL_HYBRID, POL_NMODES };

/* By what the source sees which pages are written. */
enum pol_tracker {
	POL_TRACKER_AUTO,
	POL_TRACKER_SCAN,
	POL_TRACKER_SOFT,
	POL_TRACKER_NONE,
	POL_NTRACKERS
};

/** pol_mode_name() - "auto", "stop-copy", ... */
const char *pol_mode_name(enum pol_mode mode);

/* The values; each has a row in the table, which holds its default. */
/* What becomes of TCP connections; AUTO: they move when an address moves, else are closed. */
enum pol_tcp { POL_TCP_AUTO, POL_TCP_CLOSE, POL_TCP_MOVE, POL_TCP_REFUSE };

/* What the tree uses and the destination lacks, or has otherwise; numbers as on the wire. */
enum pol_files { POL_FILES_REQUIRE, POL_FILES_MISSING, POL_FILES_DIFFERING };
/* Descriptors that a launcher has left open. */
enum pol_stray { POL_STRAY_KEEP, POL_STRAY_CLOSE };
enum pol_supervisor { POL_SUPERVISOR_HEED, POL_SUPERVISOR_IGNORE };

struct pol_options {
	unsigned int mode; /* enum pol_mode */
	unsigned int downtime_limit_ms, downtime_max_ms, degraded_max_s, deadline_s, max_rounds;
	unsigned int degraded_weight_percent, total_weight_percent;
	unsigned int freeze_limit_ms, streams, bandwidth_limit_mbit, cpu_limit_percent;
	unsigned int tcp; /* enum pol_tcp */
	unsigned int tracker; /* enum pol_tracker */
	unsigned int files; /* enum pol_files */
	unsigned int stray; /* enum pol_stray */
	unsigned int supervisor; /* enum pol_supervisor */
	unsigned int quiet_limit_ms;
	unsigned int throttle_max_percent;
};

#define POL_NOPTIONS (sizeof(struct pol_options) / sizeof(unsigned int))

struct pol_option {
	const char *name; /* --name on the command line, "name" in a policy file */
	const char *const *words; /* NULL: a number */
	const char *unit;
	unsigned int min, max, def; /* of a word: its place */
	const char *meaning;
};

extern const struct pol_option pol_table[POL_NOPTIONS];

/* Where a value came from; more than 0: the line of the file. */
#define POL_FROM_DEFAULT 0u
#define POL_FROM_COMMAND UINT32_MAX

/* Options that may be given more than once: lists of texts, which the caller interprets. */
enum pol_list { POL_MOVE_ADDRESS, POL_MAP, POL_FS, POL_EXCLUDE, POL_NLISTS };

#define POL_LIST_MAX   16
#define POL_TEXT_BYTES 256

struct pol_texts {
	char v[POL_LIST_MAX][POL_TEXT_BYTES];
	uint32_t line[POL_LIST_MAX]; /* of the file */
	size_t n;
};

struct pol_list_row {
	const char *name, *meaning;
};

extern const struct pol_list_row pol_lists[POL_NLISTS];

struct policy {
	char name[64];
	char path[512]; /* empty: no file */
	char meaning[256];
	struct pol_options v;
	uint32_t from[POL_NOPTIONS];
	struct pol_texts list[POL_NLISTS]; /* of the file */
};

/** pol_init() - all defaults */
void pol_init(struct policy *p);
/** pol_get() - value of row @row of the table of keys */
unsigned int pol_get(const struct policy *p, size_t row);
/** pol_set_text() - from the command line. Return: 0; -EINVAL, -ERANGE with key and reason */
int pol_set_text(struct policy *p, size_t row, const char *text, struct err *e);
/** pol_contradiction() - options that exclude each other. Return: 0; -EINVAL */
int pol_contradiction(const struct policy *p, struct err *e);
/** pol_value_text() - a value with its unit, for people */
void pol_value_text(const struct policy *p, size_t row, char *out, size_t bytes);
/** pol_help() - print the rows as items of --help. @column: where their text begins */
void pol_help(FILE *f, unsigned int column);
/** pol_schema() - the JSON Schema of policy files. Return: JSON text to be freed, or NULL */
char *pol_schema(void);

/* ---- file.c: policy files ---- */

#define POL_DIR_ADMIN "/etc/haul/policies"

/**
 * pol_load() - a policy by name or, when @word has a '/' or ends in .json, by file
 *
 * Names are looked up in /etc/haul/policies, then among those that came with haul.
 * "default" is there even when there is no such file.
 * Return: 0; -ENOENT; -EINVAL, -ERANGE with file, line, key and reason
 */
int pol_load(struct policy *p, const char *word, struct err *e);

/** pol_load_text() - the text of a policy file that is called @name */
int pol_load_text(struct policy *p, const char *name, const char *text, size_t bytes,
                  struct err *e);

/** pol_names() - all that pol_load() finds, sorted; freed by pol_names_free() */
char **pol_names(size_t *n);
void pol_names_free(char **names, size_t n);

/* ---- curve.c: how many pages are written within a time ---- */

#define POL_CURVE_POINTS 32

/* Measured after a scan, with growing distance to it; ascending in both. */
struct pol_curve {
	unsigned int n;
	uint64_t us[POL_CURVE_POINTS], pages[POL_CURVE_POINTS];
};

/** curve_add() - @pages were written within @us; points too close to the last, or before it, replace it */
void curve_add(struct pol_curve *c, uint64_t us, uint64_t pages);
/** curve_at() - expected pages written within @us; @max at most */
double curve_at(const struct pol_curve *c, double us, double max);

/* ---- decide.c ---- */

#define POL_PAST 16

/* A round that is over. */
struct pol_round {
	uint64_t us; /* from its scan to the peer's MARKED */
	uint64_t pages; /* taken */
	uint64_t left_pages; /* written when it ended */
};

/* What the hauler knows at a decision: measured by it, but for the last part. */
struct pol_state {
	const struct pol_options *opt;
	unsigned int round; /* rounds finished; 0: nothing is copied yet */
	bool in_round; /* the next one is under way */
	bool no_rounds; /* nothing tells which pages are written: it stops now or stays */
	uint64_t elapsed_us; /* since the start */
	uint64_t total_pages; /* of the tree, tracked */
	uint64_t fixed_pages; /* they travel while it is stopped, whatever is decided */
	uint64_t written_pages; /* since the last scan; before the first: all */
	uint64_t unsent_pages; /* of the round that is under way, and not written again */
	uint64_t eager_pages; /* of both: shared memory, which has to be there when it resumes */
	uint64_t left_runs; /* of neighbouring pages, that both are; 0: not known */
	double link_Bps; /* measured while the pipe was full; 0: not yet */
	double link_least_Bps; /* lower bound from the bytes that have arrived; 0: unknown */
	uint64_t freeze_us; /* what the stop costs apart from pages */
	uint64_t round_base_us; /* what a round costs apart from pages */
	struct pol_curve curve; /* since the last scan, at the speed that it has now */
	unsigned int slow_percent; /* of its time that is taken from it now */
	bool slow_cannot; /* it cannot be slowed down here */
	struct pol_round past[POL_PAST]; /* the last ones: round r is at r % POL_PAST */

	/* kept by pol_decide() */
	uint64_t decided_us, hopeless_us; /* time in which rounds were not expected to help */
	double skew_us; /* the curve's times, less the clock's: it was slowed down meanwhile */
	double best_cost_s; /* of stopping at the end of a round */
	double lost_cost_s; /* the least since then; 0: they are expected to help */
	uint64_t noted_us, noted_pages; /* elapsed_us and written_pages then */
	bool swept; /* it went through its memory page after page */
	uint64_t spell_us, calm_us; /* calm, now; the longest calm before it wrote again */
};

enum pol_verdict {
	POL_ROUND, /* copy another round */
	POL_FINISH, /* stop, copy the rest, resume */
	POL_SWITCH, /* stop, resume, bring the rest lazily */
	POL_THROTTLE, /* slow it down, call pol_slowed(), and continue as with POL_ROUND */
	POL_GIVE_UP, /* leave it where it is */
};

struct pol_answer {
	enum pol_verdict verdict;
	uint64_t left_pages;
	uint64_t downtime_us; /* predicted for the verdict; for a round: for POL_FINISH now */
	uint64_t degraded_us; /* predicted time in post-copy for POL_SWITCH now */
	uint64_t total_us; /* predicted from the start to the end */
	unsigned int slow_percent; /* POL_THROTTLE: by this share of its time */
	const char *why; /* a sentence for the operator */
};

/** pol_verdict_name() - for reports: "stop", "go on", ... */
const char *pol_verdict_name(enum pol_verdict v);
/** pol_round_done() - note a round */
void pol_round_done(struct pol_state *s, const struct pol_round *r);
/** pol_wrote() - a look @us after the scan found that @pages pages were written since */
void pol_wrote(struct pol_state *s, uint64_t us, uint64_t pages);
/** pol_slowed() - from now on @percent of its time is taken from the program; 0: it is free */
void pol_slowed(struct pol_state *s, unsigned int percent);
/**
 * pol_decide() - before the first round, after each, and now and then in one
 * In a round POL_ROUND means to go on with it; otherwise what it has not sent counts as
 * written.
 */
struct pol_answer pol_decide(struct pol_state *s);

/* By how CRIU learns what memory there is: docs/FREEZE.md. */
enum pol_freeze { POL_FREEZE_SMAPS, POL_FREEZE_SCANS, POL_FREEZE_PUSH };

/* What a stop consists of: each of these costs some time. Base: any stop. */
enum pol_cost {
	POL_COST_BASE,
	POL_COST_TASK, /* a process besides the first */
	POL_COST_THREAD,
	POL_COST_TCP,
	POL_COST_MAP,
	POL_COST_FILE_MAP, /* CRIU opens and compares the file */
	POL_COST_FD,
	POL_COST_WAIT, /* threads of all, squared: CRIU waits for any of them, and the kernel looks at each */
	POL_NCOSTS
};
struct pol_costs {
	double us[POL_NCOSTS];
};

/* What makes a stop longer, and is known before. */
struct pol_size {
	const struct pol_costs *costs; /* NULL: those of pol_costs_init() */
	enum pol_freeze how;
	uint64_t pages;
	unsigned int fixed_pages; /* they travel while it is stopped */
	unsigned int shared_pages; /* of shared memory: sent before, compared while it is stopped */
	unsigned int tasks, threads, tcp; /* threads: without the first of each process */
	unsigned int maps, file_maps; /* mappings: without a file, of one */
	unsigned int fds; /* descriptors, sockets too */
	unsigned int aio; /* 1: its disk is waited for */
};

/** pol_cost_name() - as a file of costs has it */
const char *pol_cost_name(enum pol_cost c);
/** pol_costs_init() - what stops cost on a quiet machine, before any was measured */
void pol_costs_init(struct pol_costs *c);
/** pol_costs_set() - one of them, kept within reason */
void pol_costs_set(struct pol_costs *c, enum pol_cost of, double us);
/** pol_costs_learn() - correct @c by a stop: @measured_us without the way of the last pages */
void pol_costs_learn(struct pol_costs *c, const struct pol_size *z, uint64_t measured_us);
/** pol_freeze_us() - what a stop is expected to cost beside its pages' way on the link */
uint64_t pol_freeze_us(const struct pol_size *z);
/**
 * pol_freeze_how() - how CRIU should learn what memory there is: what haul answers spares walks over pages, and costs
 * some time for each call
 */
enum pol_freeze pol_freeze_how(const struct pol_size *z);

/* The reason that the decision gives, and the simulator if a stop turns out to be too long. */
#define POL_WHY_UNDONE "it would be stopped for longer than freeze-limit-ms, and that undone"

/* The cost that the decision makes small, in seconds of downtime. */
double pol_cost_s(const struct pol_options *o, double down_s, double degraded_s, double total_s);

#endif
