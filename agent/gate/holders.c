// SPDX-License-Identifier: GPL-2.0-or-later
/* holders.c - keep descriptors where CRIU can open them by /proc/PID/fd/N, however many they are. */
#include "agent/gate/holders.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/gate/made.h"
#include "common/array.h"
#include "common/clock.h"
#include "common/host/nofile.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/within.h"

/* This many are kept by one process: others of this worker need descriptors, too. */
#define SHARE     8 /* of its limit */
#define BATCH_MIN 16u
#define BATCH_MAX 4096u

#define FDS_OF_US "/proc/self/fd"

#define EXECUTE_LIMIT_MS 2000
#define LOOK_EVERY_US    500

struct kept {
	int fd; /* its number in the process that has it */
	pid_t by; /* the number of that in CRIU's pid namespace; 0: this one, and it may become a helper's */
};

struct holders {
	struct kept *v;
	size_t n, cap;
	size_t nameless; /* from this one on: open in this process, without a name */
	pid_t *helper;
	size_t n_helpers, cap_helpers;
	int self; /* a pidfd of this process: helpers end with it */
	int fds; /* FDS_OF_US */
	bool unseen; /* this process has no number in CRIU's pid namespace */
};

/* ---- helpers ---- */

/* In the helper: system calls only, since other threads of the parent may have held locks. */
static void __attribute__((noreturn)) hold(const int *v, size_t n, int parent, int tell)
{
	struct pollfd p = { .fd = parent, .events = POLLIN };
	unsigned int from = 0;
	pid_t pid = getpid();
	sigset_t all;

	prctl(PR_SET_NAME, "haul-holder");
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	ssize_t told = write(tell, &pid, sizeof(pid));

	for (size_t i = 0; i < n; i++) {
		if ((unsigned int)v[i] > from)
			syscall(SYS_close_range, from, (unsigned int)v[i] - 1, 0);
		from = (unsigned int)v[i] + 1;
	}
	syscall(SYS_close_range, from, ~0U, 0);
	while (told == sizeof(pid) && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
}

/* @v: ascending. @inner: out: its number in CRIU's pid namespace. Return: its number here; -errno */
static pid_t start_helper(const int *v, size_t n, int parent, pid_t *inner)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	AUTO(fd) int hear = ends[0];
	AUTO(fd) int tell = ends[1];
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0UL);

	if (pid == 0)
		hold(v, n, parent, tell);
	if (pid < 0)
		return -errno;
	close(steal_fd(&tell));
	if (read(hear, inner, sizeof(*inner)) == sizeof(*inner))
		return pid;
	waitpid(pid, NULL, 0);
	return -EAGAIN;
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What this process has open becomes a helper's. */
static int hand_over(struct holders *h)
{
	size_t n = h->n - h->nameless;
	AUTO(mem) int *v = calloc(n + 1, sizeof(*v));
	pid_t inner = 0;

	if (!v || array_grow(&h->helper, h->n_helpers, &h->cap_helpers, sizeof(pid_t)) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		v[i] = h->v[h->nameless + i].fd;
	v[n] = h->self;
	qsort(v, n + 1, sizeof(*v), ascending);
	pid_t pid = start_helper(v, n + 1, h->self, &inner);

	if (pid < 0)
		return pid;
	h->helper[h->n_helpers++] = pid;
	for (; h->nameless < h->n; h->nameless++) {
		h->v[h->nameless].by = inner;
		close(h->v[h->nameless].fd);
	}
	return 0;
}

/* ---- descriptors ---- */

static size_t batch(void)
{
	unsigned long n = nofile_limit() / SHARE;

	return n < BATCH_MIN ? BATCH_MIN : n > BATCH_MAX ? BATCH_MAX : n;
}

static int say(int code, struct err *e)
{
	return err_set(e, ERR_SYS, -code, "files for CRIU: %s", strerror(-code));
}

int holders_keep(struct wrk *w, int fd, size_t *number, struct err *e)
{
	struct holders *h = w->gate.holders;

	if (array_grow(&h->v, h->n, &h->cap, sizeof(*h->v)) < 0) {
		close(fd);
		return say(-ENOMEM, e);
	}
	*number = h->n;
	h->v[h->n++] = (struct kept){ .fd = fd };
	int r = h->n - h->nameless < batch() ? 0 : hand_over(h);

	return r < 0 ? say(r, e) : 0;
}

int holders_done(struct wrk *w, struct err *e)
{
	struct holders *h = w->gate.holders;
	int r = h->unseen && h->nameless < h->n ? hand_over(h) : 0;

	for (; r == 0 && h->nameless < h->n; h->nameless++)
		h->v[h->nameless].by = getpid();
	return r < 0 ? say(r, e) : 0;
}

void holders_name(const struct wrk *w, size_t number, const char *below,
                  char out[HOLDERS_NAME_BYTES])
{
	const struct kept *k = &w->gate.holders->v[number];

	snprintf(out, HOLDERS_NAME_BYTES, "/proc/%d/fd/%d%s%s", k->by, k->fd, below ? "/" : "",
	         below ? below : "");
}

int holders_fds(const struct wrk *w)
{
	return w->gate.holders->fds;
}

void holders_free(struct wrk *w)
{
	struct holders *h = steal(w->gate.holders);

	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		if (!h->v[i].by || h->v[i].by == getpid())
			close(h->v[i].fd);
	for (size_t i = 0; i < h->n_helpers; i++) {
		kill(h->helper[i], SIGKILL);
		waitpid(h->helper[i], NULL, 0);
	}
	auto_fd(&h->self);
	auto_fd(&h->fds);
	free(h->helper);
	free(h->v);
	free(h);
}

/* ---- where CRIU is ---- */

struct visit {
	struct wrk *w;
	holders_fn fn;
	int mounts, pids; /* namespaces of CRIU's; -1: ours */
	struct err *e;
	int r;
};

static void *visit(void *arg)
{
	struct visit *v = arg;

	if ((v->mounts >= 0 && (unshare(CLONE_FS) < 0 || setns(v->mounts, CLONE_NEWNS) < 0)) ||
	    (v->pids >= 0 && setns(v->pids, CLONE_NEWPID) < 0))
		v->r = err_sys(v->e, "the namespaces of CRIU");
	else
		v->r = v->fn(v->w, v->e);
	return NULL;
}

static int visit_by_thread(struct visit *v)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, visit, v);

	if (r)
		return err_set(v->e, ERR_SYS, r, "no thread to find files: %s", strerror(r));
	pthread_join(thread, NULL);
	return v->r;
}

static int new_holders(struct wrk *w, struct err *e)
{
	struct holders *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	h->self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	h->fds = open(FDS_OF_US, O_PATH | O_DIRECTORY | O_CLOEXEC);
	h->unseen = !pidspace_is_ours(criu_pid(w->criu));
	w->gate.holders = h;
	return h->self < 0 || h->fds < 0 ? err_sys(e, "descriptors for files") : 0;
}

/* It is forked when the tree is stopped, and enters its namespaces before it executes. */
static void wait_executed(pid_t criu)
{
	uint64_t deadline = deadline_in_ms(EXECUTE_LIMIT_MS);

	while (made_is_hauld(criu) && now_us() < deadline)
		usleep(LOOK_EVERY_US);
}

int holders_run(struct wrk *w, holders_fn fn, struct err *e)
{
	pid_t criu = criu_pid(w->criu);
	wait_executed(criu);
	int r = new_holders(w, e);
	AUTO(fd) int mounts = -1;
	AUTO(fd) int pids = -1;

	if (r == 0 && !within_shares(criu, "ns/mnt"))
		r = mounts = pidspace_open(criu, "mnt", e);
	if (r >= 0 && w->gate.holders->unseen)
		r = pids = pidspace_open(criu, "pid", e);
	if (r < 0)
		return r;
	if (mounts < 0 && pids < 0)
		return fn(w, e);
	return visit_by_thread(&(struct visit){ w, fn, mounts, pids, e, 0 });
}
