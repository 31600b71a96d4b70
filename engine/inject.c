// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inject.c - make a userfaultfd inside a running process and take it away.
 *
 * All threads are stopped, so that none sees the descriptor or forks with it. One
 * of them runs two system calls at a syscall instruction that its vdso has anyway:
 * no byte of the process is changed. It is let go from the same kind of stop that
 * it was taken in (inside the kernel's signal delivery), where the kernel restarts
 * an interrupted system call by itself.
 *
 * All of it is done by a process of its own that shares our memory and descriptors: if
 * we are killed in the middle, it still puts the thread's registers back. Without it
 * the thread would go on at the system call instruction, and crash.
 */
#include "engine/engine.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/log.h"

#if !defined(__x86_64__)
#error "inject.c knows x86-64 only"
#endif

#define STOP_LIMIT_MS  500
#define RSEQ_TRIES     20
#define CS_64BIT       0x33
#define VDSO_BYTES_MAX 65536
#define STACK_BYTES    (256u << 10)
#define UFFD_FLAGS     (O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */)

struct thread {
	pid_t tid;
	int signal; /* arrived meanwhile: handed on when it is let go */
	bool trapped; /* stopped by our interrupt, not by a signal */
};

struct victim {
	pid_t pid;
	struct thread *t;
	size_t n;
	uint64_t syscall_at; /* address of a syscall instruction */
};

/* ---- waiting ---- */

static int wait_stop(pid_t tid, int *status, uint64_t deadline_us)
{
	for (;;) {
		pid_t r = waitpid(tid, status, __WALL | WNOHANG);

		if (r == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (r < 0 && errno != EINTR)
			return -ESRCH;
		if (now_us() > deadline_us)
			return -ETIMEDOUT;
		usleep(20);
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/* ---- taking and letting go ---- */

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

static int take_thread(struct victim *v, pid_t tid, long options)
{
	struct thread *t = realloc(v->t, (v->n + 1) * sizeof(*t));
	int status = 0;

	if (!t)
		return -ENOMEM;
	v->t = t;
	if (ptrace(PTRACE_SEIZE, tid, NULL, options) < 0)
		return errno == ESRCH ? 0 : -errno;
	v->t[v->n] = (struct thread){ .tid = tid };
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
		v->n++;
		return errno == ESRCH ? 0 : -errno;
	}
	int r = wait_stop(tid, &status, deadline_in_ms(STOP_LIMIT_MS));

	if (r == -ESRCH)
		return 0; /* it has ended: no tracee any more */
	v->t[v->n].trapped = r == 0 && is_event_stop(status);
	v->t[v->n].signal = r == 0 && !is_event_stop(status) ? WSTOPSIG(status) : 0;
	v->n++;
	return r;
}

static bool have_thread(const struct victim *v, pid_t tid)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->t[i].tid == tid)
			return true;
	return false;
}

/* Threads may be made while we look: again, until a pass finds no new one. */
static int take_all(struct victim *v)
{
	long options = PTRACE_O_TRACESYSGOOD;
	char path[32];

	if (has_seccomp(v->pid))
		options |= PTRACE_O_SUSPEND_SECCOMP;
	snprintf(path, sizeof(path), "/proc/%d/task", v->pid);
	for (;;) {
		AUTO(dir) DIR *d = opendir(path);
		size_t before = v->n;

		if (!d)
			return -ESRCH;
		for (struct dirent *de; (de = readdir(d));) {
			pid_t tid = (pid_t)strtol(de->d_name, NULL, 10);

			if (!isdigit((unsigned char)de->d_name[0]) || have_thread(v, tid))
				continue;
			int r = take_thread(v, tid, options);

			if (r < 0)
				return r;
		}
		if (v->n == before)
			return v->n ? 0 : -ESRCH;
	}
}

static void let_go(struct victim *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (ptrace(PTRACE_DETACH, v->t[i].tid, NULL, (long)v->t[i].signal) < 0 &&
		    errno != ESRCH) {
			int status;

			/* it was still on its way into the stop */
			wait_stop(v->t[i].tid, &status, deadline_in_ms(STOP_LIMIT_MS));
			ptrace(PTRACE_DETACH, v->t[i].tid, NULL, (long)v->t[i].signal);
		}
	free(v->t);
	v->t = NULL;
	v->n = 0;
}

/* ---- where and who ---- */

static int find_syscall(struct victim *v, struct err *e)
{
	struct vma_list l = { 0 };
	AUTO(mem) uint8_t *code = malloc(VDSO_BYTES_MAX);
	AUTO(fd) int fd = mem_open(v->pid, e);
	int r = fd < 0 ? fd : procs_maps(v->pid, &l, e);

	for (size_t i = 0; r == 0 && code && i < l.n && !v->syscall_at; i++) {
		const struct vma *m = &l.v[i];

		if (m->kind != VMA_SPECIAL || m->prot[2] != 'x' || m->start >> 47)
			continue;
		ssize_t n = pread(fd, code, VDSO_BYTES_MAX, (off_t)m->start);

		for (ssize_t k = 0; k + 1 < n && !v->syscall_at; k++)
			if (code[k] == 0x0f && code[k + 1] == 0x05)
				v->syscall_at = m->start + (uint64_t)k;
	}
	vmas_fini(&l);
	if (r == 0 && !v->syscall_at)
		r = err_set(e, ERR_TARGET, ENOTSUP, "process %d has no usable vdso", v->pid);
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

static struct thread *pick(struct victim *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->t[i].trapped && !in_rseq(v, v->t[i].tid))
			return &v->t[i];
	return NULL;
}

/* ---- running system calls ---- */

static int step_to(pid_t tid, int how, bool event, struct thread *t)
{
	int status;

	if (ptrace((enum __ptrace_request)how, tid, NULL, NULL) < 0)
		return -errno;
	for (;;) {
		int r = wait_stop(tid, &status, deadline_in_ms(STOP_LIMIT_MS));

		if (r < 0)
			return r;
		if (event ? is_event_stop(status) : WSTOPSIG(status) == (SIGTRAP | 0x80))
			return 0;
		/* signals are blocked: only SIGSTOP and the like come through */
		if (!is_event_stop(status))
			t->signal = WSTOPSIG(status);
		if (ptrace((enum __ptrace_request)how, tid, NULL, NULL) < 0)
			return -errno;
	}
}

static long run_syscall(const struct victim *v, struct thread *t,
                        const struct user_regs_struct *saved, long nr, uint64_t arg)
{
	struct user_regs_struct r = *saved;

	r.rip = v->syscall_at;
	r.rax = (unsigned long long)nr;
	r.orig_rax = (unsigned long long)-1; /* nothing to restart */
	r.rdi = arg;
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &r) < 0)
		return -errno;
	int rc = step_to(t->tid, PTRACE_SYSCALL, false, t); /* entry */

	if (rc == 0)
		rc = step_to(t->tid, PTRACE_SYSCALL, false, t); /* exit */
	if (rc == 0 && ptrace(PTRACE_GETREGS, t->tid, NULL, &r) < 0)
		rc = -errno;
	/* back into the stop inside signal delivery, before the next instruction */
	if (rc == 0 && ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL) < 0)
		rc = -errno;
	if (rc == 0)
		rc = step_to(t->tid, PTRACE_CONT, true, t);
	return rc < 0 ? rc : (long)r.rax;
}

static int fetch_fd(pid_t pid, int remote)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -errno;
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, remote, 0);

	return fd < 0 ? -errno : fd;
}

/* No descriptor was free: is there room up to the hard limit? All threads are stopped. */
static bool raise_limit(pid_t pid, struct rlimit *old)
{
	struct rlimit more;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, old) < 0 || old->rlim_cur >= old->rlim_max)
		return false;
	more = (struct rlimit){ old->rlim_max, old->rlim_max };
	return prlimit(pid, RLIMIT_NOFILE, &more, NULL) == 0;
}

static int in_thread(const struct victim *v, struct thread *t, int *fd_out, struct err *e)
{
	struct user_regs_struct saved;
	struct rlimit old;
	uint64_t mask, all = ~0ULL;
	bool raised = false;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &saved) < 0 ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask) < 0)
		return err_set(e, ERR_TARGET, ESRCH, "process %d went away", v->pid);
	if (saved.cs != CS_64BIT)
		return err_set(e, ERR_TARGET, ENOTSUP, "process %d is a 32-bit program", v->pid);
	ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(all), &all);
	long fd = run_syscall(v, t, &saved, SYS_userfaultfd, UFFD_FLAGS);
	if (fd == -EMFILE && (raised = raise_limit(v->pid, &old)))
		fd = run_syscall(v, t, &saved, SYS_userfaultfd, UFFD_FLAGS);
	int got = fd >= 0 ? fetch_fd(v->pid, (int)fd) : (int)fd;

	if (fd >= 0)
		run_syscall(v, t, &saved, SYS_close, (uint64_t)fd);
	if (raised)
		prlimit(v->pid, RLIMIT_NOFILE, &old, NULL);
	ptrace(PTRACE_SETREGS, t->tid, NULL, &saved);
	ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask);
	if (got < 0)
		return err_set(e, ERR_TARGET, -got, "userfaultfd in process %d: %s", v->pid,
		               strerror(-got));
	*fd_out = got;
	return 0;
}

static int inject(pid_t pid, int *fd_out, struct err *e)
{
	struct victim v = { .pid = pid };
	int r = find_syscall(&v, e);

	for (int i = 0; r == 0 && i < RSEQ_TRIES; i++) {
		r = take_all(&v);
		if (r < 0) {
			let_go(&v);
			return err_set(e, ERR_TARGET, r == -EPERM ? EBUSY : -r,
			               "process %d cannot be stopped: %s", pid,
			               r == -EPERM ? "it is traced by another program"
			                           : strerror(-r));
		}
		struct thread *t = pick(&v);

		if (t)
			r = in_thread(&v, t, fd_out, e);
		let_go(&v);
		if (t)
			return r;
		usleep(1000);
	}
	return r < 0 ? r : err_set(e, ERR_TARGET, EAGAIN, "process %d: no thread can be used", pid);
}

/* ---- a process of its own for it ---- */

struct job {
	pid_t pid;
	int *fd_out;
	struct err *e;
	int result;
};

static int job_main(void *arg)
{
	struct job *j = arg;

	setsid(); /* out of reach of what is meant for our group */
	j->result = inject(j->pid, j->fd_out, j->e);
	return 0;
}

int inject_uffd(pid_t pid, int *fd_out, struct err *e)
{
	struct job j = { .pid = pid, .fd_out = fd_out, .e = e, .result = -ECHILD };
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED)
		return err_sys(e, "stack for the injection");
	/* this thread sleeps until it has ended, so its thread-local memory is free */
	pid_t helper = clone(job_main, stack + STACK_BYTES, CLONE_VM | CLONE_FILES | CLONE_VFORK,
	                     &j);

	if (helper < 0)
		j.result = err_sys(e, "process for the injection");
	while (helper > 0 && waitpid(helper, NULL, __WALL) < 0 && errno == EINTR)
		;
	munmap(stack, STACK_BYTES);
	return j.result;
}
