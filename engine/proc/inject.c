// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inject.c - make a userfaultfd inside a running process and take it away; set locks on files as a process
 * that is stopped; make calls that a thread can make for itself alone.
 *
 * All threads are stopped, so that none sees the descriptor or forks with it. One of them runs two
 * system calls at a syscall instruction that its vdso has anyway: no byte of the process is
 * changed. It is released from the same kind of stop in which it was taken (inside the kernel's
 * signal delivery), from which the kernel restarts an interrupted system call by itself.
 *
 * All of it is done by a process of its own that shares our memory and descriptors: if we are
 * killed in the middle, it still puts the thread's registers back. Otherwise the thread would
 * resume at the system call instruction, and crash.
 */
#include "engine/proc/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "engine/proc/frost.h"
#include "engine/proc/hold.h"

#if !defined(__x86_64__)
#error "inject.c knows x86-64 only"
#endif

#define RSEQ_TRIES     20
#define CLOSE_TRIES    10
#define THAW_LIMIT_MS  100
#define CS_64BIT       0x33
#define VDSO_BYTES_MAX 65536
#define UFFD_FLAGS     (O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */)

struct victim {
	struct hold h;
	uint64_t syscall_at; /* address of a syscall instruction */
};

static bool has_seccomp(pid_t pid)
{
	char path[32], line[128];
	bool yes = false;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "Seccomp:", 8))
			yes = strtol(line + 8, NULL, 10) != 0;
	return yes;
}

/* ---- where and who ---- */

static int find_syscall(struct victim *v, struct err *e)
{
	struct vma_list l = { 0 };
	AUTO(mem) uint8_t *code = malloc(VDSO_BYTES_MAX);
	AUTO(fd) int fd = mem_open(v->h.pid, e);
	int r = fd < 0 ? fd : procs_maps(v->h.pid, &l, e);

	for (size_t i = 0; r == 0 && code && i < l.n && !v->syscall_at; i++) {
		const struct vma *m = &l.v[i];

		if (m->kind != VMA_SPECIAL || m->prot[2] != 'x' || m->start >> 47)
			continue;
		ssize_t n = pread(fd, code, VDSO_BYTES_MAX, (off_t)m->start);

		for (ssize_t k = 0; k + 1 < n && !v->syscall_at; k++)
			if (code[k] == 0x0f && code[k + 1] == 0x05)
				v->syscall_at = m->start + (uint64_t)k;
	}
	procs_vmas_fini(&l);
	if (r)
		return r;
	if (!v->syscall_at)
		r = err_set(e, ERR_TARGET, ENOTSUP, "process %d has no usable vdso", v->h.pid);
	return r;
}

/* A thread inside a restartable sequence must not be moved: the kernel would forget it. */
static bool in_rseq(const struct victim *v, pid_t tid)
{
	struct __ptrace_rseq_configuration c = { 0 };
	uint64_t cs = 0;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(c), &c) < 0 || !c.rseq_abi_pointer)
		return false;
	errno = 0;
	cs = (uint64_t)ptrace(PTRACE_PEEKDATA, tid, c.rseq_abi_pointer + 8, NULL);
	(void)v;
	return errno == 0 && cs != 0;
}

static struct hold_thread *pick(struct victim *v)
{
	for (size_t i = 0; i < v->h.n; i++)
		if (v->h.t[i].trapped && !in_rseq(v, v->h.t[i].tid))
			return &v->h.t[i];
	return NULL;
}

/* ---- running system calls ---- */

/*
 * The next stop. A thread that gets no processor, or that its cgroup has frozen, is told to stop
 * where it is, because its registers are not its own: the stop comes as soon as it can run at all,
 * and a freezer (version 2) allows it.
 */
static int next_stop(struct hold_thread *t, int how, bool *off, int *status)
{
	if (ptrace((enum __ptrace_request)how, t->tid, NULL, NULL) < 0)
		return -errno;
	int r = hold_wait(t->tid, status, *off ? HOLD_FOR_EVER : deadline_in_ms(HOLD_LIMIT_MS));

	if (r != -ETIMEDOUT)
		return r;
	*off = true;
	ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	return hold_wait(t->tid, status, HOLD_FOR_EVER);
}

/*
 * On return the thread is in the kind of stop in which it was taken, or has ended (-ESRCH).
 * Return: the result of the call; -ETIMEDOUT: it was not made
 */
static long run_syscall(const struct victim *v, struct hold_thread *t,
                        const struct user_regs_struct *saved, long nr,
                        const uint64_t arg[INJECT_ARGS])
{
	struct user_regs_struct r = *saved;
	bool off = false, inside = false, made = true;
	long rc = -ETIMEDOUT;
	int status;

	r.rip = v->syscall_at;
	r.rax = (unsigned long long)nr;
	r.orig_rax = (unsigned long long)-1; /* nothing to restart */
	r.rdi = arg[0];
	r.rsi = arg[1];
	r.rdx = arg[2];
	r.r10 = arg[3];
	r.r8 = arg[4];
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &r) < 0)
		return -errno;
	for (;;) {
		int x = next_stop(t, inside || !off ? PTRACE_SYSCALL : PTRACE_CONT, &off, &status);

		if (x < 0)
			return x;
		if (hold_is_event(status) && off)
			return rc;
		/* signals are blocked: only SIGSTOP and the like arrive */
		if (!hold_is_event(status) && WSTOPSIG(status) != (SIGTRAP | 0x80))
			t->signal = WSTOPSIG(status);
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		inside = !inside;
		if (ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
			return -errno;
		if (inside && off) { /* too late: skip the call */
			made = false;
			r.orig_rax = (unsigned long long)-1;
			ptrace(PTRACE_SETREGS, t->tid, NULL, &r);
		} else if (!inside) {
			rc = made ? (long)r.rax : rc;
			/* back into signal delivery, before the next instruction */
			off = true;
			ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
		}
	}
}

/*
 * No descriptor was free: raise the soft limit to the hard one, if that is higher. All threads are
 * stopped.
 */
static bool raise_limit(pid_t pid, struct rlimit *old)
{
	struct rlimit more;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, old) < 0 || old->rlim_cur >= old->rlim_max)
		return false;
	more = (struct rlimit){ old->rlim_max, old->rlim_max };
	return prlimit(pid, RLIMIT_NOFILE, &more, NULL) == 0;
}

/* What is to be done in a thread. Return: >= 0; -errno */
typedef int (*work_fn)(const struct victim *v, struct hold_thread *t,
                       const struct user_regs_struct *saved, void *arg);

/* Return: what @work returned; -errno with @e */
static int in_thread(const struct victim *v, struct hold_thread *t, work_fn work, void *arg,
                     struct err *e)
{
	struct user_regs_struct saved;
	uint64_t mask, all = ~0ULL;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &saved) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask) < 0)
		return err_set(e, ERR_TARGET, ESRCH, "process %d went away", v->h.pid);
	if (saved.cs != CS_64BIT)
		return err_set(e, ERR_TARGET, ENOTSUP, "process %d is a 32-bit program", v->h.pid);
	ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(all), &all);
	int r = work(v, t, &saved, arg);

	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &saved) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask) < 0)
		return err_set(e, ERR_TARGET, ESRCH, "process %d has ended", v->h.pid);
	return r;
}

/* @arg: int *, our copy of the descriptor */
static int make_uffd(const struct victim *v, struct hold_thread *t,
                     const struct user_regs_struct *saved, void *arg)
{
	const uint64_t flags[INJECT_ARGS] = { UFFD_FLAGS };
	struct rlimit old;
	bool raised = false;
	long fd = run_syscall(v, t, saved, SYS_userfaultfd, flags);

	if (fd == -EMFILE && (raised = raise_limit(v->h.pid, &old)))
		fd = run_syscall(v, t, saved, SYS_userfaultfd, flags);
	int got = fd >= 0 ? procs_copy_fd(v->h.pid, (int)fd) : (int)fd;
	const uint64_t number[INJECT_ARGS] = { (uint64_t)fd };

	for (int i = 0; fd >= 0 && i < CLOSE_TRIES; i++)
		if (run_syscall(v, t, saved, SYS_close, number) != -ETIMEDOUT)
			break;
	if (raised)
		prlimit(v->h.pid, RLIMIT_NOFILE, &old, NULL);
	*(int *)arg = got >= 0 ? got : -1;
	return got < 0 ? got : 0;
}

/* ---- locks ---- */

#define RED_ZONE_BYTES 128
#define WORD_BYTES     8
#define FLOCK_WORDS    (sizeof(struct flock) / WORD_BYTES)

struct locks {
	const struct inject_lock *v;
	size_t n;
};

static int poke(pid_t tid, uint64_t at, const uint64_t word[FLOCK_WORDS])
{
	for (size_t i = 0; i < FLOCK_WORDS; i++)
		if (ptrace(PTRACE_POKEDATA, tid, at + i * WORD_BYTES, word[i]) < 0)
			return -errno;
	return 0;
}

/* The kernel reads the lock from the stack, below what the thread uses of it. */
static int set_locks(const struct victim *v, struct hold_thread *t,
                     const struct user_regs_struct *saved, void *arg)
{
	const struct locks *l = arg;
	uint64_t at = (saved->rsp - RED_ZONE_BYTES - sizeof(struct flock)) & ~15ULL;
	uint64_t was[FLOCK_WORDS], word[FLOCK_WORDS];
	int r = 0;

	for (size_t i = 0; i < FLOCK_WORDS; i++) {
		errno = 0;
		was[i] = (uint64_t)ptrace(PTRACE_PEEKDATA, t->tid, at + i * WORD_BYTES, NULL);
		if (errno)
			return -errno;
	}
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const uint64_t call[INJECT_ARGS] = { (uint64_t)l->v[i].fd, F_SETLK, at };
		struct flock f = { .l_type = l->v[i].type,
			           .l_whence = SEEK_SET,
			           .l_start = l->v[i].start,
			           .l_len = l->v[i].len };

		memcpy(word, &f, sizeof(f));
		r = poke(t->tid, at, word);
		if (r == 0)
			r = (int)run_syscall(v, t, saved, SYS_fcntl, call);
	}
	int back = poke(t->tid, at, was);

	return r < 0 ? r : back;
}

/* ---- calls that a thread makes for itself ---- */

static int make_call(const struct victim *v, struct hold_thread *t,
                     const struct user_regs_struct *saved, void *arg)
{
	const struct inject_call *c = arg;

	return (int)run_syscall(v, t, saved, c->nr, c->arg);
}

static struct hold_thread *thread_of(struct victim *v, pid_t tid)
{
	for (size_t i = 0; i < v->h.n; i++)
		if (v->h.t[i].tid == tid && v->h.t[i].trapped && !in_rseq(v, tid))
			return &v->h.t[i];
	return NULL;
}

struct calls {
	pid_t pid;
	struct inject_call *v;
	size_t n;
	struct err *e;
};

static int calls_main(void *arg)
{
	struct calls *c = arg;
	struct victim v = { .h.pid = c->pid };
	struct err ignore = ERR_INIT;
	int r = find_syscall(&v, c->e);

	if (r < 0)
		return r;
	r = hold_take(&v.h,
	              PTRACE_O_TRACESYSGOOD | (has_seccomp(c->pid) ? PTRACE_O_SUSPEND_SECCOMP : 0));
	for (size_t i = 0; r == 0 && i < c->n; i++) {
		struct hold_thread *t = thread_of(&v, c->v[i].tid);

		c->v[i].result = t ? in_thread(&v, t, make_call, &c->v[i], &ignore) : -EBUSY;
	}
	hold_let_go(&v.h);
	return r;
}

/* A process that is throttled by a freezer is thawed in a moment. */
static int wait_thawed(pid_t pid, struct err *e)
{
	uint64_t limit = deadline_in_ms(THAW_LIMIT_MS);
	int r;

	while ((r = frost_refuse(pid, e)) < 0 && now_us() < limit) {
		err_clear(e);
		usleep(1000);
	}
	return r;
}

static int inject(pid_t pid, work_fn work, void *arg, struct err *e)
{
	struct victim v = { .h.pid = pid };
	long options = PTRACE_O_TRACESYSGOOD;
	int r = find_syscall(&v, e);

	if (r < 0)
		return r;
	r = wait_thawed(pid, e);
	if (r < 0)
		return r;
	if (has_seccomp(pid))
		options |= PTRACE_O_SUSPEND_SECCOMP;
	for (int i = 0; r == 0 && i < RSEQ_TRIES; i++) {
		r = hold_take(&v.h, options);
		if (r < 0) {
			hold_let_go(&v.h);
			return err_set(e, ERR_TARGET, r == -EPERM ? EBUSY : -r,
			               "process %d cannot be stopped: %s", pid,
			               r == -EPERM ? "it is traced by another program"
			                           : strerror(-r));
		}
		struct hold_thread *t = pick(&v);

		if (t) {
			r = in_thread(&v, t, work, arg, e);
			v.h.again = t->signal;
			t->signal = 0; /* a stop of ours delivers no signal */
		}
		hold_let_go(&v.h);
		if (t)
			return r;
		usleep(1000);
	}
	return r < 0 ? r : err_set(e, ERR_TARGET, EAGAIN, "process %d: no thread can be used", pid);
}

/* ---- a process of its own for it ---- */

struct job {
	pid_t pid;
	work_fn work;
	void *arg;
	struct err *e;
};

static int job_main(void *arg)
{
	struct job *j = arg;

	return inject(j->pid, j->work, j->arg, j->e);
}

int inject_uffd(pid_t pid, int *fd_out, struct err *e)
{
	int fd = -1;
	struct job j = { .pid = pid, .work = make_uffd, .arg = &fd, .e = e };
	int r = hold_apart(job_main, &j);

	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return e->src != ERR_NONE
		               ? r
		               : err_set(e, ERR_TARGET, -r, "userfaultfd in process %d: %s", pid,
		                         strerror(-r));
	}
	*fd_out = fd;
	return 0;
}

int inject_locks(pid_t pid, const struct inject_lock *v, size_t n, struct err *e)
{
	struct locks l = { v, n };
	struct job j = { .pid = pid, .work = set_locks, .arg = &l, .e = e };
	int r = hold_apart(job_main, &j);

	return r == 0 || e->src != ERR_NONE
	               ? r
	               : err_set(e, ERR_TARGET, -r, "locks of process %d: %s", pid, strerror(-r));
}

int inject_calls(pid_t pid, struct inject_call *v, size_t n, struct err *e)
{
	struct calls c = { pid, v, n, e };
	int r = hold_apart(calls_main, &c);

	return r == 0 || e->src != ERR_NONE
	               ? r
	               : err_set(e, ERR_TARGET, -r, "process %d cannot be held: %s", pid,
	                         strerror(-r));
}
