// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watch.c - haul watch PID: what a program writes, live, without moving it; a trace
 * of it; and what each policy would do with it now.
 *
 * Time is counted in samples from the start. A look comes when its sample ends, later when
 * looks are dear, and later still when the machine is busy: it says how many it covers.
 */
#include "hauler/cli/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/printable.h"
#include "engine/proc/frost.h"

/* The program pays for each page that it writes again after a look: a fault. */
#define FAULT_US 1

/* Looks, and what they cost the program, may take this part of the time: one in COST_SHARE. */
#define COST_SHARE  20
#define PACE_MAX_US 60000000

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

/* ---- a look ---- */

static int took(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct watch *w = arg;

	(void)vma;
	(void)flags;
	return w->first ? ages_present(w->ages, obj_of_task((uint64_t)pid), vaddr, pages)
	                : ages_touch(w->ages, obj_of_task((uint64_t)pid), vaddr, pages);
}

static int took_object(void *arg, uint64_t obj, uint64_t at, uint64_t pages, unsigned int flags)
{
	struct watch *w = arg;

	(void)flags;
	return w->first ? ages_present(w->ages, obj, at, pages)
	                : ages_touch(w->ages, obj, at, pages);
}

struct present {
	struct watch *w;
	uint64_t pages, written;
	bool blind; /* some of it is not tracked: that is written, as it is in a migration */
};

static int present(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	struct present *p = arg;

	(void)vma;
	if (flags & (TRACKER_ZERO | TRACKER_FILE))
		return 0;
	p->pages += pages;
	p->written += flags & TRACKER_DIRTY ? pages : 0;
	return p->blind && flags & TRACKER_DIRTY
	               ? ages_touch(p->w->ages, obj_of_task((uint64_t)pid), vaddr, pages)
	               : 0;
}

static int present_object(void *arg, uint64_t obj, uint64_t at, uint64_t pages, unsigned int flags)
{
	struct present *p = arg;

	(void)obj;
	(void)at;
	p->pages += pages;
	p->written += flags & TRACKER_DIRTY ? pages : 0;
	return 0;
}

static uint64_t samples(const struct watch *w)
{
	return (uint64_t)w->t.dropped + w->t.n;
}

/* How many samples end now; what a trace cannot take is left out of it. */
static void begin_sample(struct watch *w)
{
	uint64_t n = (now_us() - w->start_us + w->t.sample_us / 2) / w->t.sample_us;

	n = n > samples(w) ? n - samples(w) : 1;
	w->span = trace_span(&w->t, w->ages, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX);
	w->start_us += (n - w->span) * w->t.sample_us;
	if (n > w->pace)
		w->late += (uint32_t)(n - w->pace);
}

/* Of a look, the glances before it, and @pages that are written again afterwards. */
static uint64_t cost_us(const struct watch *w, uint64_t pages)
{
	return w->look_us + w->glances_us + pages * FAULT_US;
}

/* By the cost of the looks so far, or the cost if all of the memory were written. */
static void set_pace(struct watch *w, uint64_t look_us)
{
	w->look_us = look_us;
	uint64_t cost = cost_us(w, w->st.dirty_pages), us = cost * COST_SHARE;

	if (w->pace > w->longest) {
		w->longest = w->pace;
		w->longest_cost_us = cost;
	}
	us = us < PACE_MAX_US ? us : PACE_MAX_US;
	w->pace = (uint32_t)((us + w->t.sample_us - 1) / w->t.sample_us);
	w->pace = w->pace ? w->pace : 1;
	w->glances_us = 0;
	w->curve.n = 0;
}

static int take_sample(struct watch *w, struct err *e)
{
	struct present p = { .w = w };
	struct tracker_stats all;
	int r = tracker_round(w->trk, took, w, &w->st, e);

	r = r < 0 ? r : tracker_objects(w->trk, took_object, w, e);
	if (r < 0)
		return r;
	p.blind = w->st.vmas_untracked || w->st.procs_untracked;
	r = tracker_final(w->trk, present, &p, &all, e);
	r = r < 0 ? r : tracker_objects(w->trk, present_object, &p, e);
	return r < 0 ? r : trace_add(&w->t, w->ages, p.pages, &w->curve, e);
}

static int look(struct watch *w, struct err *e)
{
	uint64_t t0 = now_us(), cpu0 = now_cpu_us();

	begin_sample(w);
	int r = take_sample(w, e);

	set_pace(w, now_cpu_us() - cpu0);
	w->armed_us = t0;
	return r;
}

/* Between two looks: how much is written by now? Nothing is armed again, so this is cheap. */
static int glance(struct watch *w, uint64_t *written, struct err *e)
{
	struct present p = { .w = w };
	struct tracker_stats st;
	uint64_t t0 = now_us(), cpu0 = now_cpu_us();
	int r = tracker_final(w->trk, present, &p, &st, e);

	r = r < 0 ? r : tracker_objects(w->trk, present_object, &p, e);
	curve_add(&w->curve, t0 - w->armed_us, p.written);
	w->glances_us += now_cpu_us() - cpu0;
	*written = p.written;
	return r;
}

/* ---- the watching ---- */

static bool has_ended(struct watch *w)
{
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };

	w->gone = poll(&p, 1, 0) == 1;
	return w->gone;
}

/* Return: false: the process has ended, or the user has ended the watching */
static bool wait_until(struct watch *w, uint64_t us)
{
	for (;;) {
		uint64_t now = now_us(), left = us > now ? us - now : 0;
		struct timespec t = { (time_t)(left / 1000000), (long)(left % 1000000) * 1000 };
		struct pollfd p = { .fd = w->pidfd, .events = POLLIN };
		int r = ppoll(&p, 1, &t, &w->mask);

		w->gone = r == 1;
		if (ended || w->gone)
			return false;
		if (r == 0)
			return true;
	}
}

/* With glances at 1, 2, 4, ... samples. Return: false: over, or @r says why */
static bool wait_for(struct watch *w, int *r, struct err *e)
{
	uint64_t from_us = w->start_us + samples(w) * w->t.sample_us, written;

	for (uint32_t k = 1; k < w->pace; k *= 2) {
		if (!wait_until(w, from_us + (uint64_t)k * w->t.sample_us))
			return false;
		*r = glance(w, &written, e);
		if (*r < 0)
			return false;
		if (cost_us(w, written) * COST_SHARE <= (uint64_t)k * w->t.sample_us)
			w->pace = k; /* it is cheaper than was expected */
	}
	return wait_until(w, from_us + (uint64_t)w->pace * w->t.sample_us);
}

static int first_look(struct watch *w, struct err *e)
{
	uint64_t cpu0 = now_cpu_us();

	w->first = true;
	int r = tracker_round(w->trk, took, w, &w->st, e);

	r = r < 0 ? r : tracker_objects(w->trk, took_object, w, e);
	w->first = false;
	if (r == 0 && w->st.procs == 0)
		r = err_set(e, ERR_TARGET, EBUSY, "process %d cannot be tracked", w->opt->pid);
	w->start_us = w->armed_us = now_us();
	set_pace(w, now_cpu_us() - cpu0);
	return r;
}

static int watching(struct watch *w, struct err *e)
{
	uint64_t limit = w->opt->watch.seconds
	                         ? (uint64_t)w->opt->watch.seconds * 1000000 / w->t.sample_us
	                         : UINT64_MAX;
	int r = first_look(w, e);

	while (r == 0 && samples(w) < limit) {
		if (limit - samples(w) < w->pace)
			w->pace = (uint32_t)(limit - samples(w));
		if (!wait_for(w, &r, e))
			break;
		r = look(w, e);
		if (r == 0 && !watch_show(w))
			break;
	}
	if (r < 0 && has_ended(w)) {
		err_clear(e);
		r = 0;
	}
	return r;
}

/* ---- the process and the file ---- */

/* haul cannot stop itself. */
static int check_tree(pid_t pid, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(pid, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		if (l.pid[i] == getpid()) {
			err_set(e, ERR_TARGET, EINVAL,
			        "haul itself (pid %d) is part of the tree of pid %d", getpid(),
			        pid);
			r = err_fix(e, "name another process, or start haul from outside the tree");
		}
	procs_fini(&l);
	return r;
}

/* May it be looked into? */
static int check_access(pid_t pid, struct err *e)
{
	char path[40], exe[8];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (readlink(path, exe, sizeof(exe)) < 0 && errno == ENOENT)
		return err_set(e, ERR_TARGET, EINVAL, "pid %d is a thread of the kernel", pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	AUTO(fd) int mem = open(path, O_RDWR | O_CLOEXEC);

	if (mem >= 0)
		return 0;
	err_set(e, ERR_TARGET, errno, "process %d may not be watched: %s", pid, strerror(errno));
	return geteuid() ? err_fix(e, "watch it as root") : -e->code;
}

static int open_process(struct watch *w, struct err *e)
{
	pid_t pid = w->opt->pid;

	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->pidfd < 0 && errno == ESRCH) {
		err_set(e, ERR_TARGET, ESRCH, "no process %d", pid);
		return err_fix(e, "see ps -e");
	}
	if (w->pidfd < 0 && (errno == EINVAL || errno == ENOENT))
		return err_set(e, ERR_TARGET, EINVAL, "%d is a thread, not a process", pid);
	if (w->pidfd < 0)
		return err_sys(e, "process %d", pid);
	if (has_ended(w))
		return err_set(e, ERR_TARGET, ESRCH, "process %d has ended", pid);
	int r = check_access(pid, e);

	if (r < 0)
		return r;
	r = frost_refuse(pid, e);
	return r < 0 ? r : check_tree(pid, e);
}

/* Before the watching: can it be written? What is in it stays until there is something new. */
static int open_record(const char *path, bool *made, struct err *e)
{
	*made = access(path, F_OK) < 0;
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);

	return fd < 0 ? err_sys(e, "trace %s", path) : 0;
}

static int save(const struct watch *w, bool made, struct err *e)
{
	const char *path = w->opt->watch.record;

	if (!path)
		return 0;
	if (w->t.n)
		return trace_save(&w->t, path, e);
	if (made)
		unlink(path);
	return 0;
}

static int no_samples(const struct watch *w, struct err *e)
{
	return w->gone ? err_set(e, ERR_TARGET, ESRCH, "process %d ended before there was a sample",
	                         w->opt->pid)
	               : err_set(e, ERR_STOPPED, EINTR, "stopped before there was a sample");
}

static int track(struct watch *w, enum tracker_kind kind, struct err *e)
{
	int r = ages_new(&w->ages, e);

	if (r < 0)
		return r;
	r = tracker_new(&w->trk, w->opt->pid, kind, e);
	if (r < 0)
		return r;
	r = tracker_own(w->trk, e);
	return r < 0 ? r : watching(w, e);
}

static int watch_run(struct watch *w, struct err *e)
{
	enum tracker_kind kind = tracker_best();
	struct err late = ERR_INIT; /* of the record */
	bool made = false;
	int r = 0;

	if (kind == TRACKER_NONE) {
		err_set(e, ERR_SYS, ENOTSUP, "this kernel cannot tell which pages are written");
		return err_fix(e, "watching needs Linux 6.7, or CONFIG_MEM_SOFT_DIRTY");
	}
	r = open_process(w, e);
	if (r < 0)
		return r;
	if (w->opt->watch.record)
		r = open_record(w->opt->watch.record, &made, e);
	if (r < 0)
		return r;
	w->t.sample_us = w->opt->watch.sample_ms * 1000;
	printable_comm(w->opt->pid, w->t.title, sizeof(w->t.title));
	watch_size(w);
	r = track(w, kind, e);
	tracker_free(steal(w->trk));
	r = r < 0 || w->t.n ? r : no_samples(w, e);
	if (w->t.n)
		watch_end(w);
	watch_size(w);
	if (save(w, made, &late) < 0 && r == 0) {
		*e = late;
		r = -e->code;
	}
	return r;
}

/* ---- the command ---- */

static int check_options(struct opts *o)
{
	if (o->watch.seconds && o->watch.seconds * 1000 < o->watch.sample_ms) {
		fprintf(stderr, "haul: --seconds=%u ends before the first sample: --sample-ms=%u\n",
		        o->watch.seconds, o->watch.sample_ms);
		return -EINVAL;
	}
	return policy_pick(o);
}

/* They are heard while nothing is done: a screen is whole, and a record is kept. */
static void take_signals(struct watch *w)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++) {
		sigaction(sigs[i], &act, NULL);
		sigaddset(&set, sigs[i]);
	}
	sigprocmask(SIG_BLOCK, &set, &w->mask);
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		sigdelset(&w->mask, sigs[i]);
}

int cli_watch(struct opts *o, int argc, char **argv)
{
	struct watch w = { .opt = o, .pidfd = -1 };
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (check_options(o) < 0)
		return EXIT_USAGE;
	if (isatty(STDOUT_FILENO))
		setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	take_signals(&w);
	int r = watch_run(&w, &e);

	if (r < 0)
		report_error(&e, o->json);
	if (w.pidfd >= 0)
		close(w.pidfd);
	ages_free(w.ages);
	trace_fini(&w.t);
	if (r == 0)
		return EXIT_OK;
	return e.src == ERR_STOPPED  ? EXIT_INTERRUPTED
	       : e.src == ERR_TARGET ? EXIT_BLOCKED
	                             : EXIT_FAILED;
}
