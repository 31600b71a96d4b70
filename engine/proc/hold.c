// SPDX-License-Identifier: GPL-2.0-or-later
/* hold.c - stop all threads of a process for a moment by ptrace, and let them go. */
#include "engine/proc/hold.h"

#include <ctype.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common/auto.h"
#include "common/clock.h"

#define STACK_BYTES (256u << 10)

/* ---- waiting ---- */

int hold_wait(pid_t tid, int *status, uint64_t deadline_us)
{
	int now = deadline_us == HOLD_FOR_EVER ? 0 : WNOHANG;

	for (;;) {
		pid_t r = waitpid(tid, status, __WALL | now);

		if (r == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (r < 0 && errno != EINTR)
			return -ESRCH;
		if (now && now_us() > deadline_us)
			return -ETIMEDOUT;
		if (now)
			usleep(20);
	}
}

bool hold_is_event(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

/* ---- taking and letting go ---- */

static int take_thread(struct hold *h, pid_t tid, long options)
{
	struct hold_thread *t = realloc(h->t, (h->n + 1) * sizeof(*t));
	int status = 0;

	if (!t)
		return -ENOMEM;
	h->t = t;
	if (ptrace(PTRACE_SEIZE, tid, NULL, options) < 0)
		return errno == ESRCH ? 0 : -errno;
	h->t[h->n] = (struct hold_thread){ .tid = tid };
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
		h->n++;
		return errno == ESRCH ? 0 : -errno;
	}
	int r = hold_wait(tid, &status, deadline_in_ms(HOLD_LIMIT_MS));

	if (r == -ESRCH)
		return 0; /* it has ended and is no longer a tracee */
	h->t[h->n].trapped = r == 0 && hold_is_event(status);
	h->t[h->n].signal = r == 0 && !hold_is_event(status) ? WSTOPSIG(status) : 0;
	h->n++;
	return r;
}

static bool have_thread(const struct hold *h, pid_t tid)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->t[i].tid == tid)
			return true;
	return false;
}

/* Threads may be created while we look: repeat until a pass finds no new one. */
int hold_take(struct hold *h, long options)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", h->pid);
	for (;;) {
		AUTO(dir) DIR *d = opendir(path);
		size_t before = h->n;

		if (!d)
			return -ESRCH;
		for (struct dirent *de; (de = readdir(d));) {
			pid_t tid = (pid_t)strtol(de->d_name, NULL, 10);

			if (!isdigit((unsigned char)de->d_name[0]) || have_thread(h, tid))
				continue;
			int r = take_thread(h, tid, options);

			if (r < 0)
				return r;
		}
		if (h->n == before)
			return h->n ? 0 : -ESRCH;
	}
}

void hold_let_go(struct hold *h)
{
	for (size_t i = 0; i < h->n; i++)
		ptrace(PTRACE_DETACH, h->t[i].tid, NULL, (long)h->t[i].signal);
	free(h->t);
	h->t = NULL;
	h->n = 0;
	if (h->again)
		kill(h->pid, h->again);
	h->again = 0;
}

/* ---- a process of its own for it ---- */

#ifdef __SANITIZE_THREAD__
/* its clone() takes the child for a copy: with the memory shared, it forgets its own locks */
extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

struct job {
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static int job_main(void *arg)
{
	struct job *j = arg;

	setsid(); /* out of reach of signals to our process group */
	j->result = j->fn(j->arg);
	return 0;
}

int hold_apart(int (*fn)(void *arg), void *arg)
{
	struct job j = { .fn = fn, .arg = arg, .result = -ECHILD };
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED)
		return -errno;
	/* this thread sleeps until it has ended, so its thread-local memory is free */
	pid_t helper = clone(job_main, stack + STACK_BYTES, CLONE_VM | CLONE_FILES | CLONE_VFORK,
	                     &j);

	if (helper < 0)
		j.result = -errno;
	while (helper > 0 && waitpid(helper, NULL, __WALL) < 0 && errno == EINTR)
		;
	munmap(stack, STACK_BYTES);
	return j.result;
}

struct held {
	pid_t pid;
	int (*fn)(void *arg);
	void *arg;
	uint64_t *longest_us;
};

static int held_main(void *arg)
{
	struct held *j = arg;
	struct hold h = { .pid = j->pid };
	uint64_t t0 = now_us();
	int r = hold_take(&h, 0);

	if (r == 0)
		r = j->fn(j->arg);
	hold_let_go(&h);
	if (now_us() - t0 > *j->longest_us)
		*j->longest_us = now_us() - t0;
	return r;
}

int hold_while(pid_t pid, int (*fn)(void *arg), void *arg, uint64_t *longest_us)
{
	struct held j = { .pid = pid, .fn = fn, .arg = arg, .longest_us = longest_us };

	return hold_apart(held_main, &j);
}

/* ---- registers ---- */

/* The kernel's struct rt_sigframe (x86-64). */
#define FRAME_CONTEXT 8
#define FRAME_INFO    312

struct handler {
	pid_t tid;
	uint64_t sp;
};

static int read_handler(void *arg)
{
	const struct handler *h = arg;
#ifdef __x86_64__
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, h->tid, NULL, &r) < 0)
		return -errno;
	/* the arguments of a handler, also of one that does not ask for all of them */
	if (r.rsp == h->sp && r.rsi == h->sp + FRAME_INFO && r.rdx == h->sp + FRAME_CONTEXT)
		return (int)r.rdi;
#else
	(void)h;
#endif
	return 0;
}

int hold_handler(pid_t pid, pid_t tid, uint64_t sp)
{
	struct handler h = { tid, sp };
	uint64_t longest_us = 0;

	return hold_while(pid, read_handler, &h, &longest_us);
}

struct again {
	pid_t pid;
	const struct hold_call *c;
};

static int make_again(void *arg)
{
	const struct again *a = arg;
#ifdef __x86_64__
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, a->pid, NULL, &r) < 0)
		return -errno;
	if (r.rip != a->c->ip || (int64_t)r.rax != -EINTR)
		return 0;
	r.rip -= a->c->back;
	r.rax = a->c->nr;
	r.rdi = a->c->arg[0];
	r.rsi = a->c->arg[1];
	r.rdx = a->c->arg[2];
	r.orig_rax = (unsigned long long)-1; /* no call of the kernel's own comes before it */
	return ptrace(PTRACE_SETREGS, a->pid, NULL, &r) < 0 ? -errno : 0;
#else
	(void)a;
	return 0;
#endif
}

int hold_call_again(pid_t pid, const struct hold_call *c)
{
	struct again a = { pid, c };
	uint64_t longest_us = 0;

	return hold_while(pid, make_again, &a, &longest_us);
}
