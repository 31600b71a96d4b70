// SPDX-License-Identifier: GPL-2.0-or-later
/* watch_show.c - what haul watch shows: a screen that is drawn anew, lines, or JSON. */
#include "hauler/cli/watch.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "hauler/report/say.h"

#define MIB              1048576.0
#define PLOT_COLUMNS_MAX 100
#define PLOT_FRAME       4 /* columns beside it */
#define SET_S            10 /* the working set: pages written in this many seconds */
#define TABLE_EVERY_S    5
#define TAIL_S                                                                                     \
	30 /* the prediction assumes that it goes on writing as it did in this many seconds */

/* Lines are not broken meanwhile: what does not fit is cut. */
#define SCREEN_BEGIN "\033[H\033[2J\033[?7l"
#define SCREEN_END   "\033[?7h"

static double time_us(const struct watch *w)
{
	return ((double)w->t.dropped + w->t.n) * w->t.sample_us;
}

/* Written since the look before the last. */
static double pages_of_look(const struct watch *w)
{
	double now = (double)w->t.n * w->t.sample_us;

	return trace_written(&w->t, now - (double)w->span * w->t.sample_us, now);
}

/* The working set, and of how many seconds. */
static double set_pages(const struct watch *w, double *seconds)
{
	double now = (double)w->t.n * w->t.sample_us, from = now - SET_S * 1e6;

	from = from > 0 ? from : 0;
	*seconds = (now - from) / 1e6;
	return trace_written(&w->t, from, now);
}

/* ---- notes on the figures ---- */

enum note { NOTE_SLOW, NOTE_LATE, NOTE_BLIND, NOTE_DROPPED, NNOTES };

static bool note_text(const struct watch *w, enum note which, char *out, size_t bytes)
{
	switch (which) {
	case NOTE_SLOW:
		snprintf(out, bytes,
		         "looks are up to %.0f ms apart, not %u: each costs the program and us "
		         "%.0f ms",
		         w->longest * (w->t.sample_us / 1e3), w->opt->watch.sample_ms,
		         (double)w->longest_cost_us / 1e3);
		return w->longest > 1;
	case NOTE_LATE:
		snprintf(out, bytes,
		         "%u samples came late: the pages written meanwhile are spread over that "
		         "time",
		         w->late);
		return w->late;
	case NOTE_BLIND:
		snprintf(out, bytes,
		         "%u mappings and %u processes cannot be tracked: all of them counts as "
		         "written",
		         w->st.vmas_untracked, w->st.procs_untracked);
		return w->st.vmas_untracked || w->st.procs_untracked;
	default:
		snprintf(out, bytes, "the first %.0f s are not in the trace any more",
		         w->t.dropped * (w->t.sample_us / 1e6));
		return w->t.dropped;
	}
}

/* @again: also those that were shown before. */
static void notes(struct watch *w, bool again)
{
	for (unsigned int i = 0; i < NNOTES; i++) {
		char text[160];

		if (!note_text(w, (enum note)i, text, sizeof(text)) ||
		    (!again && w->noted & BIT(i)))
			continue;
		printf("  note: %s\n", text);
		w->noted |= BIT(i);
	}
}

/* ---- for people ---- */

static bool speaks_utf8(void)
{
	locale_t l = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool yes = l && !strcmp(nl_langinfo_l(CODESET, l), "UTF-8");

	if (l)
		freelocale(l);
	return yes;
}

static uint32_t plot_columns(void)
{
	struct winsize s = { 0 };
	uint32_t n = PLOT_COLUMNS_MAX;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &s) == 0 && s.ws_col > PLOT_FRAME &&
	    s.ws_col - PLOT_FRAME < PLOT_COLUMNS_MAX)
		n = s.ws_col - PLOT_FRAME;
	return n;
}

static double mib_ps(const struct trace *t, uint32_t i)
{
	return t->v[i].written * POL_PAGE_BYTES / MIB * 1e6 / t->sample_us;
}

/* The last samples as columns, scaled to the highest of them. */
static void plot(const struct watch *w)
{
	static const char *const bars[][9] = { { " ", ".", ":", "-", "=", "+", "*", "#", "@" },
		                               { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" } };
	const char *const *bar = bars[speaks_utf8()];
	uint32_t n = plot_columns();
	double most = 0;

	n = n < w->t.n ? n : w->t.n;
	for (uint32_t i = w->t.n - n; i < w->t.n; i++)
		if (mib_ps(&w->t, i) > most)
			most = mib_ps(&w->t, i);
	printf("  writes, at most %.1f MiB/s, %.1f s\n  |", most, n * (w->t.sample_us / 1e6));
	for (uint32_t i = w->t.n - n; i < w->t.n; i++)
		fputs(bar[most > 0 ? (int)(mib_ps(&w->t, i) / most * 8 + 0.5) : 0], stdout);
	puts("|");
}

/* Of the last second, or since the look before. */
static double mean_mib_ps(const struct watch *w)
{
	uint32_t second = 1000000 / w->t.sample_us, n = w->span > second ? w->span : second;
	double sum = 0;

	n = n < w->t.n ? n : w->t.n;
	for (uint32_t i = w->t.n - n; i < w->t.n; i++)
		sum += mib_ps(&w->t, i);
	return sum / n;
}

static void line(const struct watch *w)
{
	double seconds, set = set_pages(w, &seconds);

	printf("%8.1f s  %8.1f MiB/s written; in %.0f s: %.1f of %.1f MiB\n", time_us(w) / 1e6,
	       mean_mib_ps(w), seconds, set * POL_PAGE_BYTES / MIB,
	       w->t.v[w->t.n - 1].total_pages * POL_PAGE_BYTES / MIB);
}

void watch_size(struct watch *w)
{
	AUTO(inspect) struct inspect *i = NULL;
	struct err ignore = ERR_INIT;
	struct pol_size z = { 0 };

	if (inspect_new(&i, w->opt->pid, &ignore) == 0)
		inspect_size(i, &z);
	if (z.pages)
		w->t.of = z;
}

/* The prediction, if the program writes as before. */
static void table(struct watch *w)
{
	struct trace tail;
	struct err e = ERR_INIT;

	watch_size(w);
	if (trace_tail(&w->t, TAIL_S * 1000000, &tail, &e) < 0) {
		report_error(&e, w->opt->json);
		return;
	}
	if (!w->opt->json)
		printf("\n  a move at %u Mbit/s, if it continues as in these %.0f s:\n",
		       w->opt->watch.bandwidth_mbit, (double)tail.n * tail.sample_us / 1e6);
	policy_table(w->opt, &tail);
	trace_fini(&tail);
}

static void screen(struct watch *w)
{
	printf(SCREEN_BEGIN "pid %d %s  (Ctrl-C ends the watching)\n", w->opt->pid, w->t.title);
	line(w);
	plot(w);
	notes(w, true);
	if (w->shown_s >= TABLE_EVERY_S)
		table(w);
	fputs(SCREEN_END, stdout);
}

/* ---- for programs ---- */

static void event(const struct watch *w)
{
	double seconds, set = set_pages(w, &seconds);

	say_event(json_pack("{s:s, s:f, s:i, s:I, s:i, s:i, s:i, s:i, s:i, s:i}", "event", "watch",
	                    "time_s", time_us(w) / 1e6, "written_pages",
	                    (int)(pages_of_look(w) + 0.5), "sample_us",
	                    (json_int_t)w->span * w->t.sample_us, "set_pages", (int)(set + 0.5),
	                    "total_pages", (int)w->t.v[w->t.n - 1].total_pages, "late_samples",
	                    (int)w->late, "dropped_samples", (int)w->t.dropped,
	                    "untracked_mappings", (int)w->st.vmas_untracked, "untracked_processes",
	                    (int)w->st.procs_untracked),
	          (struct say_how){ .json = true });
}

static void events(struct watch *w)
{
	event(w);
	if (time_us(w) / 1e6 < (double)w->told_s + TABLE_EVERY_S)
		return;
	w->told_s = (uint64_t)(time_us(w) / 1e6);
	table(w);
}

/* ---- both ---- */

bool watch_show(struct watch *w)
{
	uint64_t s = (uint64_t)(time_us(w) / 1e6);

	if (w->opt->json) {
		events(w);
	} else if (!w->opt->quiet && s != w->shown_s) {
		w->shown_s = s;
		if (isatty(STDOUT_FILENO)) {
			screen(w);
		} else {
			line(w);
			notes(w, false);
		}
	}
	return fflush(stdout) == 0;
}

void watch_end(struct watch *w)
{
	if (w->opt->json)
		table(w);
	if (w->opt->json || w->opt->quiet)
		return;
	if (isatty(STDOUT_FILENO))
		putchar('\n'); /* behind ^C */
	if (w->gone)
		printf("  process %d has ended, after %.1f s\n", w->opt->pid, time_us(w) / 1e6);
	notes(w, true);
	table(w);
}
