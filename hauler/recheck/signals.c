// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * signals.c - signals and SIGKILL that reach the tree while it is stopped.
 *
 * CRIU saves the signals that are pending when it dumps a process. A later signal would be lost
 * with the copy here, and a process that was killed would live on at the destination. So pending
 * signals are noted when the tree has stopped and compared before COMMIT is sent. When CRIU lets go
 * of a process, the process takes its pending signals before it stops: then none is pending, but
 * the handler's frame has moved the stack pointer. Signals of the process's own timers do not
 * count: the timer fires at the destination, too.
 */
#include "hauler/recheck/recheck.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "engine/proc/hold.h"

/* With more threads than this only signals to the whole process are checked. */
#define THREADS_MAX 1024u

#define KEY_BYTES 7u /* "SigPnd:" */
#define SET(sig)  (1ull << ((sig)-1))

/*
 * haul and CRIU send these themselves; a parent gets SIGCHLD because its children are stopped. All children are
 * in the tree: one that was killed is noticed by itself.
 */
#define OUR_OWN (SET(SIGSTOP) | SET(SIGCONT) | SET(SIGCHLD))
/* setitimer(2): its state cannot be seen from outside, and CRIU saves it */
#define ITIMERS (SET(SIGALRM) | SET(SIGVTALRM) | SET(SIGPROF))
/* without a handler these do nothing */
#define HARMLESS (SET(SIGCHLD) | SET(SIGURG) | SET(SIGWINCH))

static int first_of(uint64_t set)
{
	return set ? __builtin_ctzll(set) + 1 : 0;
}

/* Signal sets of one thread, as /proc/PID/status has them. */
struct masks {
	uint64_t own, shared, blocked, ignored, caught;
};

struct signals_thread {
	pid_t tid;
	uint64_t sp; /* stack pointer; 0: not known */
};

struct signals_task {
	pid_t pid;
	bool lived;
	/* when the tree had stopped: */
	uint64_t pending;
	struct signals_thread *v;
	size_t n;
};

struct signals {
	struct signals_task *v;
	size_t n;
};

static bool read_masks(const char *path, struct masks *m)
{
	AUTO(file) FILE *f = fopen(path, "re");
	char line[256];
	const struct {
		const char *key;
		uint64_t *set;
	} rows[] = { { "SigPnd:", &m->own },
		     { "ShdPnd:", &m->shared },
		     { "SigBlk:", &m->blocked },
		     { "SigIgn:", &m->ignored },
		     { "SigCgt:", &m->caught } };

	*m = (struct masks){ 0 };
	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			if (!strncmp(line, rows[i].key, KEY_BYTES))
				*rows[i].set = strtoull(line + KEY_BYTES, NULL, 16);
	return f != NULL;
}

/* A traced process also queues signals that it ignores; blocked ones may be waited for. */
static uint64_t discarded(const struct masks *m)
{
	return ~m->blocked & (m->ignored | (HARMLESS & ~m->caught));
}

/* Signals that the POSIX timers of @pid send. */
static uint64_t timer_signals(pid_t pid)
{
	char path[32], line[128];
	uint64_t set = 0;
	int sig;

	snprintf(path, sizeof(path), "/proc/%d/timers", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "signal: %d/", &sig) == 1 && sig > 0 && sig <= 64)
			set |= SET(sig);
	return set;
}

/* Stack pointer of a thread that is stopped; 0: it cannot be seen. */
static uint64_t stack_of(pid_t pid, pid_t tid)
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	/* the last two words: stack pointer, program counter */
	char *pc = strrchr(line, ' ');

	if (!pc)
		return 0;
	*pc = 0;
	char *sp = strrchr(line, ' ');

	return sp ? strtoull(sp, NULL, 16) : 0;
}

/* Pending signals of @pid and its threads. @all: include those that have no effect */
static uint64_t pending_of(pid_t pid, bool all)
{
	char path[64];
	struct masks m;
	unsigned int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!read_masks(path, &m))
		return 0;
	uint64_t set = m.shared & ~(all ? 0 : discarded(&m));

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && n < THREADS_MAX && (de = readdir(d)); n++) {
		int tid = atoi(de->d_name);

		snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
		if (tid > 0 && read_masks(path, &m))
			set |= m.own & ~(all ? 0 : discarded(&m));
	}
	return all ? set : set & ~(OUR_OWN | ITIMERS | timer_signals(pid));
}

static int note_threads(struct signals_task *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && t->n < THREADS_MAX && (de = readdir(d));) {
		pid_t tid = atoi(de->d_name);
		struct signals_thread *v = realloc(t->v, (t->n + 1) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		t->v = v;
		if (tid > 0)
			v[t->n++] = (struct signals_thread){ tid, stack_of(t->pid, tid) };
	}
	return 0;
}

int signals_note(struct mig *m, struct err *e)
{
	struct signals *s = m->copy.signals = calloc(1, sizeof(*s));
	AUTO(procs) struct proc_list l = { 0 };

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	int r = procs_tree(m->opt->pid, &l, e);

	if (r < 0)
		return r;
	s->v = calloc(l.n + 1, sizeof(*s->v));
	if (!s->v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for signals");
	for (size_t i = 0; i < l.n; i++) {
		struct signals_task *t = &s->v[s->n++];

		*t = (struct signals_task){ .pid = l.pid[i], .lived = procs_lives(l.pid[i]) };
		t->pending = pending_of(t->pid, true);
		if (note_threads(t) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for threads");
	}
	return 0;
}

/* ---- signals that were taken between CRIU's ptrace and the stop ---- */

/*
 * A frame as the kernel builds it for a handler (x86-64: struct rt_sigframe). It has siginfo only
 * when the handler asked for it; otherwise the set of blocked signals on entry tells which signal
 * it was.
 */
#define FRAME_BYTES  336
#define FRAME_SP     168 /* stack pointer of the interrupted code */
#define FRAME_MASK   304 /* and its blocked signals */
#define FRAME_SIGNO  312
#define FRAME_CODE   320
#define FRAMES_MAX   64
#define CODE_UNKNOWN 0x7fff
#define UNKNOWN      (-1)

struct taken {
	int signo, code;
	uint64_t sp, mask;
	uint64_t added; /* blocked for the handler */
};

/* @mask: what the handler of this frame has blocked */
static int read_frame(int mem, uint64_t at, uint64_t mask, struct taken *out)
{
#ifdef __x86_64__
	uint8_t b[FRAME_BYTES];

	if (pread(mem, b, sizeof(b), (off_t)at) != (ssize_t)sizeof(b))
		return -EFAULT;
	memcpy(&out->sp, b + FRAME_SP, sizeof(out->sp));
	memcpy(&out->mask, b + FRAME_MASK, sizeof(out->mask));
	memcpy(&out->signo, b + FRAME_SIGNO, sizeof(out->signo));
	memcpy(&out->code, b + FRAME_CODE, sizeof(out->code));
	out->added = mask & ~out->mask;
	if (out->signo > 0 && out->signo <= 64 && (out->added & SET(out->signo)) &&
	    out->code >= SI_ASYNCNL && out->code <= SI_KERNEL)
		return 0;
	out->code = CODE_UNKNOWN;
	out->signo = __builtin_popcountll(out->added) == 1 ? first_of(out->added) : UNKNOWN;
	return 0;
#else
	(void)mem;
	(void)at;
	(void)mask;
	(void)out;
	return -ENOSYS;
#endif
}

/* The process's own timer sent it, or the images contain it: then it is not lost. */
static bool is_kept(const struct signals_task *t, const struct taken *f)
{
	uint64_t own = timer_signals(t->pid);

	if (f->signo == UNKNOWN)
		return f->added & (t->pending | own);
	bool itimer = (ITIMERS & SET(f->signo)) &&
	              (f->code == SI_KERNEL || f->code == CODE_UNKNOWN);
	bool timer = f->code == SI_TIMER || (f->code == CODE_UNKNOWN && (own & SET(f->signo)));

	return itimer || timer || ((t->pending | OUR_OWN) & SET(f->signo));
}

/* Return: a signal whose handler this thread is about to run, and which would be lost; UNKNOWN; 0 */
static int taken_by(const struct signals_task *t, const struct signals_thread *h, int mem)
{
	uint64_t at = stack_of(t->pid, h->tid);
	char path[64];
	struct masks now;

	if (!at || !h->sp || at == h->sp)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", t->pid, h->tid);
	if (!read_masks(path, &now))
		return UNKNOWN;
	uint64_t mask = now.blocked;

	for (int i = 0; at != h->sp; i++) {
		struct taken f = { 0 };

		if (i == FRAMES_MAX || read_frame(mem, at, mask, &f) < 0)
			return UNKNOWN;
		if (i == 0 && f.signo == UNKNOWN) {
			int sig = hold_handler(t->pid, h->tid, at);

			f.signo = sig > 0 && sig <= 64 ? sig : UNKNOWN;
		}
		if (!is_kept(t, &f))
			return f.signo;
		at = f.sp;
		mask = f.mask;
	}
	return 0;
}

static int taken(const struct signals_task *t)
{
	struct err ignore = ERR_INIT;
	AUTO(fd) int mem = mem_open(t->pid, &ignore);
	int sig = 0;

	for (size_t i = 0; !sig && i < t->n; i++)
		sig = taken_by(t, &t->v[i], mem);
	return sig;
}

/* ---- before the commit, and after ---- */

static uint64_t new_signals(const struct signals_task *t)
{
	return pending_of(t->pid, false) & ~t->pending;
}

int signals_check(const struct mig *m, struct err *e)
{
	const struct signals *s = m->copy.signals;

	for (size_t i = 0; s && i < s->n; i++) {
		const struct signals_task *t = &s->v[i];

		if (!t->lived)
			continue;
		if (!procs_lives(t->pid))
			return err_set(e, ERR_SYS, EINTR,
			               "process %d was killed here while it was stopped", t->pid);
		int sig = first_of(new_signals(t));

		sig = sig ? sig : taken(t);
		if (!sig)
			continue;
		if (sig == UNKNOWN)
			err_set(e, ERR_SYS, EINTR,
			        "process %d got a signal while it was stopped: the signal is "
			        "delivered here",
			        t->pid);
		else
			err_set(e, ERR_SYS, EINTR,
			        "signal %d (%s) was sent to process %d while it was stopped: it is "
			        "delivered here",
			        sig, strsignal(sig), t->pid);
		return err_fix(e, "move it again");
	}
	return 0;
}

void signals_late(const struct mig *m)
{
	const struct signals *s = m->copy.signals;

	for (size_t i = 0; s && i < s->n; i++) {
		const struct signals_task *t = &s->v[i];
		int sig = first_of(new_signals(t));

		if (t->lived && !procs_lives(t->pid))
			log_warn("the stopped copy of process %d was killed here after the "
			         "hand-over; the process runs at %s",
			         t->pid, m->opt->dest);
		else if (sig)
			log_warn("signal %d (%s) was sent to the stopped copy of process %d after "
			         "the hand-over; it is not delivered: send it again on %s",
			         sig, strsignal(sig), t->pid, m->opt->dest);
	}
}

void signals_free(struct signals *s)
{
	for (size_t i = 0; s && i < s->n; i++)
		free(s->v[i].v);
	if (s)
		free(s->v);
	free(s);
}
