// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cmd_watch.c - haul watch PID: what a program writes, live, without moving it; a trace
 * of it; and what each policy would do with it now. The program is left as it was found.
 */
#include "hauler/cmd.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "policies/trace.h"

#define MIB              1048576.0
#define PLOT_COLUMNS_MAX 100
#define SET_S            10 /* the working set is what is written in so many seconds */
#define TABLE_EVERY_S    5

struct watch {
	const struct opts *opt;
	struct trk *trk;
	struct ages *ages;
	struct trace t;
	uint64_t start_us;
	bool first; /* the first scan finds all pages: they are there, not written */
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static int took(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct watch *w = arg;

	(void)vma;
	(void)flags;
	return w->first ? ages_present(w->ages, (uint64_t)pid, vaddr, pages)
	                : ages_touch(w->ages, (uint64_t)pid, vaddr, pages);
}

static int present(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	(void)pid;
	(void)vma;
	(void)vaddr;
	if (!(flags & (TRK_ZERO | TRK_FILE)))
		*(uint64_t *)arg += pages;
	return 0;
}

/* How many pages there are now, of all processes that live. */
static int look(struct watch *w, uint64_t *total, struct err *e)
{
	struct trk_stats st;

	return trk_final(w->trk, present, total, &st, e);
}

/* ---- on the terminal ---- */

static double mib_ps(const struct trace *t, uint32_t i)
{
	return t->v[i].written * POL_PAGE_BYTES / MIB * 1e6 / t->sample_us;
}

/* The last samples as columns, scaled to the highest of them. */
static void plot(const struct watch *w)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	uint32_t n = w->t.n < PLOT_COLUMNS_MAX ? w->t.n : PLOT_COLUMNS_MAX;
	double most = 0;

	for (uint32_t i = w->t.n - n; i < w->t.n; i++)
		if (mib_ps(&w->t, i) > most)
			most = mib_ps(&w->t, i);
	printf("  writes, at most %.0f MiB/s\n  |", most);
	for (uint32_t i = w->t.n - n; i < w->t.n; i++)
		fputs(bars[most > 0 ? (int)(mib_ps(&w->t, i) / most * 8 + 0.5) : 0], stdout);
	puts("|");
}

static void line(const struct watch *w)
{
	double now = (double)w->t.n * w->t.sample_us, from = now - SET_S * 1e6;
	double set = trace_written(&w->t, from > 0 ? from : 0, now);
	const struct trace_sample *s = &w->t.v[w->t.n - 1];

	if (w->opt->json) {
		printf("{\"event\":\"watch\",\"time_s\":%.3f,\"written_pages\":%u,\"sample_us\":%u,"
		       "\"set_pages\":%.0f,\"total_pages\":%u}\n",
		       now / 1e6, s->written, w->t.sample_us, set, s->total_pages);
		return;
	}
	printf("%8.1f s  %8.1f MiB/s written; in %d s: %.1f of %.1f MiB\n", now / 1e6,
	       mib_ps(&w->t, w->t.n - 1), SET_S, set * POL_PAGE_BYTES / MIB,
	       s->total_pages * POL_PAGE_BYTES / MIB);
}

/* If it went on like this, and a move had begun when the watching began. */
static void table(const struct watch *w)
{
	printf("\n  a move at %u Mbit/s, if it goes on as in these %.0f s:\n",
	       w->opt->bandwidth_mbit, (double)w->t.n * w->t.sample_us / 1e6);
	cmd_policies_now(w->opt, &w->t, 0);
}

static void screen(const struct watch *w)
{
	uint32_t per_s = 1000000 / w->t.sample_us;
	bool whole = isatty(STDOUT_FILENO);

	if (per_s == 0)
		per_s = 1;
	if (w->opt->json) {
		line(w);
		fflush(stdout);
		return;
	}
	if (w->opt->quiet || w->t.n % per_s)
		return;
	if (whole) {
		fputs("\033[H\033[2J", stdout);
		printf("pid %d  (Ctrl-C ends the watching)\n", w->opt->pid);
	}
	line(w);
	if (whole)
		plot(w);
	if (whole && w->t.n / per_s >= TABLE_EVERY_S)
		table(w);
	fflush(stdout);
}

/* ---- the watching ---- */

static bool alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static void sleep_until(uint64_t us)
{
	uint64_t now = now_us();

	if (us <= now)
		return;
	struct timespec t = { (time_t)((us - now) / 1000000), (long)((us - now) % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

static int watching(struct watch *w, struct err *e)
{
	uint64_t limit = w->opt->seconds ? (uint64_t)w->opt->seconds * 1000000 / w->t.sample_us
	                                 : TRACE_SAMPLES_MAX;
	struct trk_stats st;
	int r;

	w->first = true;
	r = trk_round(w->trk, took, w, &st, e);
	if (r == 0 && st.procs == 0)
		r = err_set(e, ERR_TARGET, ESRCH, "process %d cannot be tracked", w->opt->pid);
	w->first = false;
	w->start_us = now_us();
	for (uint64_t k = 1; r == 0 && !ended && k <= limit && k <= TRACE_SAMPLES_MAX; k++) {
		sleep_until(w->start_us + k * w->t.sample_us);
		if (ended || !alive(w->opt->pid))
			break;
		uint64_t total = 0;

		r = trk_round(w->trk, took, w, &st, e);
		if (r == 0)
			r = look(w, &total, e);
		if (r == 0)
			r = trace_add(&w->t, w->ages, total, e);
		if (r == 0)
			screen(w);
	}
	return r;
}

static void read_comm(struct watch *w)
{
	char path[40], comm[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", w->opt->pid);
	AUTO(file) FILE *f = fopen(path, "re");

	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = 0;
	snprintf(w->t.title, sizeof(w->t.title), "%s", comm);
}

static int watch_run(struct watch *w, struct err *e)
{
	enum trk_kind kind = trk_best();
	int r = 0;

	if (kind == TRK_NONE) {
		err_set(e, ERR_SYS, ENOTSUP, "this kernel cannot tell which pages are written");
		return err_fix(e, "watching needs Linux 6.7, or CONFIG_MEM_SOFT_DIRTY");
	}
	if (!alive(w->opt->pid))
		return err_set(e, ERR_USER, ESRCH, "no process %d", w->opt->pid);
	w->t.sample_us = w->opt->sample_ms * 1000;
	read_comm(w);
	r = ages_new(&w->ages, e);
	if (r == 0)
		r = trk_new(&w->trk, w->opt->pid, kind, e);
	if (r == 0)
		r = watching(w, e);
	trk_free(steal(w->trk));
	if (r == 0 && w->t.n && !w->opt->json && !w->opt->quiet)
		table(w);
	if (r == 0 && w->t.n && w->opt->record)
		r = trace_save(&w->t, w->opt->record, e);
	return r;
}

int cmd_watch(struct opts *o)
{
	struct watch w = { .opt = o };
	struct sigaction act = { .sa_handler = on_signal };
	struct err e = ERR_INIT;

	if (only_takes(o, "watch", "record seconds sample-ms bandwidth policy json", true) < 0 ||
	    cmd_policy_pick(o) < 0)
		return EXIT_USAGE;
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	int r = watch_run(&w, &e);

	if (r < 0)
		rep_error(&e, o->json);
	ages_free(w.ages);
	trace_fini(&w.t);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}
