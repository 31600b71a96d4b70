// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guard.c - processes that stand behind the one with the pager, and take its place.
 *
 * They share its table of descriptors (CLONE_FILES): what it opens they hold in the same
 * instant, userfaultfds that come by CRIU's socket or in a fork event included. No copy
 * is ever sent, so no moment is left in which a death would close one.
 *
 * Seats: the pager has seat 0. A guardian's seat is the number of living ones before it.
 * At seat 0 it takes over; at seat 1 it sees to it that somebody stands behind it. So
 * there are two guardians as a rule; one or two of the three may die in the same moment.
 */
#include "engine/engine.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/log.h"
#include "engine/arena.h"
#include "engine/pager.h"

#define SEATS         3
#define WATCHED_FD    4000 /* higher than userfaultfds as a rule */
#define KEEP_MAX      16
#define MOVE_UP_TURNS 2000 /* 0.2 s */
#define QUICK_DEATHS  16u
#define PIDFD_LINK    "anon_inode:[pidfd]"
#define PIDFD_LINK2   "pidfd:" /* since 6.9 they are files of pidfs */

struct guard {
	struct arena arena; /* first: arena_new() */
	bool armed, complete, over; /* atomic */
	unsigned int deaths;
	pid_t pid[SEATS]; /* 0 serves */
	int second; /* pidfd of who stands at seat 1 */
	int keep[KEEP_MAX]; /* 0: free */
	struct guard_ops ops;
	pid_t root; /* of the tree that waits for pages; 0: none yet */
	uint64_t root_start; /* its start, in the kernel's ticks */
	struct pbook book;
	_Alignas(64) uint8_t user[GUARD_USER_BYTES];
};

/* One process's view of those before and behind it: pidfds, -1 for the dead. */
struct seat {
	struct guard *g;
	int ahead[SEATS];
	int behind;
	pid_t behind_pid;
	bool first; /* guardian of all */
};

static void guardian(struct seat *s);

static bool flag(const bool *b)
{
	return __atomic_load_n(b, __ATOMIC_ACQUIRE);
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static bool dead(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd < 0 || poll(&p, 1, 0) > 0;
}

static unsigned int count(const struct seat *s)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < SEATS; i++)
		n += s->ahead[i] >= 0;
	return n;
}

/* pidfds are never closed: those ahead and behind use the same numbers. */
static void look(struct seat *s)
{
	for (unsigned int i = 0; i < SEATS; i++)
		if (dead(s->ahead[i]))
			s->ahead[i] = -1;
	if (dead(s->behind))
		s->behind = -1;
}

/* Not fork(): the table of descriptors is to be one. We have one thread. */
static pid_t clone_with_files(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0UL);
}

/* Somebody behind us, who looks at all that we look at, and at us. */
static int stand_behind(struct seat *s)
{
	unsigned int n = count(s);
	int me = n + 1 < SEATS ? pidfd_of(getpid()) : -1;

	if (me < 0)
		return -errno;
	fflush(NULL);
	pid_t pid = clone_with_files();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		for (unsigned int i = 0; i < SEATS; i++)
			if (s->ahead[i] < 0) {
				s->ahead[i] = me;
				break;
			}
		s->behind = -1;
		guardian(s);
	}
	s->g->pid[n + 1] = pid;
	s->behind = pidfd_of(pid);
	s->behind_pid = pid;
	if (n == 0)
		s->g->second = s->behind;
	return s->behind < 0 ? -errno : 0;
}

/*
 * Once we have threads we can make nobody. So it must be certain that who is behind us lives:
 * it may be dying, too. If it lives it moves up, and says so.
 */
static void be_followed(struct seat *s)
{
	struct timespec t = { .tv_nsec = 100000 };

	for (int i = 0; i < MOVE_UP_TURNS && s->behind >= 0; i++) {
		if (__atomic_load_n(&s->g->pid[1], __ATOMIC_ACQUIRE) == s->behind_pid)
			return;
		nanosleep(&t, NULL);
		if (dead(s->behind))
			s->behind = -1;
	}
	if (s->behind < 0 && stand_behind(s) < 0)
		log_warn("guardian: nobody stands behind this one: %s", strerror(errno));
}

static void take_over(struct seat *s)
{
	struct guard *g = s->g;
	unsigned int deaths = __atomic_add_fetch(&g->deaths, 1, __ATOMIC_RELAXED);
	struct timespec pause = { .tv_sec = deaths > QUICK_DEATHS };
	sigset_t none;

	g->pid[0] = getpid();
	be_followed(s);
	/* what kills every successor must not keep the host busy; threads wait meanwhile */
	nanosleep(&pause, NULL);
	prctl(PR_SET_NAME, "hauld");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_err("the process with the pager is dead; pid %d goes on in its place", getpid());
	_exit(g->ops.succeed(g->ops.arg, g));
}

/*
 * Once, by the first; the others inherit it. Guardians must open and close nothing while a
 * successor may be closing what it does not know (the table is one).
 */
static void be_last_in_want_of_memory(void)
{
	AUTO(fd) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "-1000", 5) < 0)
		log_debug("oom_score_adj: %s", strerror(errno));
}

/* A session of its own: no terminal, no signals that are meant for a group. */
static void be_apart(void)
{
	sigset_t all;

	prctl(PR_SET_NAME, "haul-guard");
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static void wait_for_a_death(const struct seat *s)
{
	struct pollfd p[SEATS + 1];

	for (unsigned int i = 0; i < SEATS; i++)
		p[i] = (struct pollfd){ .fd = s->ahead[i], .events = POLLIN };
	p[SEATS] = (struct pollfd){ .fd = s->behind, .events = POLLIN };
	poll(p, SEATS + 1, -1);
}

static void guardian(struct seat *s)
{
	be_apart();
	if (s->first)
		be_last_in_want_of_memory();
	s->first = false;
	for (;;) {
		int was = s->ahead[0];

		look(s);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (flag(&s->g->over))
			_exit(0);
		if (was >= 0 && s->ahead[0] < 0 && !flag(&s->g->armed)) {
			if (s->g->pid[1] != getpid())
				_exit(0);
			log_warn("guardian: the worker died before the commit: undone");
			if (s->g->ops.undone)
				s->g->ops.undone(s->g->ops.arg, s->g);
			_exit(0);
		}
		if (count(s) == 0)
			take_over(s);
		if (count(s) == 1) {
			if (s->g->pid[1] != getpid())
				s->g->second = pidfd_of(getpid());
			__atomic_store_n(&s->g->pid[1], getpid(), __ATOMIC_RELEASE);
			if (s->behind < 0 && stand_behind(s) < 0)
				log_warn("guardian: nobody stands behind this one: %s",
				         strerror(errno));
		}
		wait_for_a_death(s);
	}
}

int guard_new(struct guard **out, struct err *e)
{
	struct arena *a = NULL;
	int r = arena_new(&a, sizeof(struct guard), e);

	*out = (struct guard *)a;
	return r;
}

void guard_free(struct guard *g)
{
	if (g)
		arena_unmap(&g->arena);
}

int guard_start(struct guard *g, const struct guard_ops *ops, struct err *e)
{
	struct seat s = { .g = g, .ahead = { -1, -1, -1 }, .behind = -1, .first = true };

	g->ops = *ops;
	g->pid[0] = getpid();
	tzset(); /* else the first line of a guardian's log would open a file */
	int r = stand_behind(&s);

	if (r < 0)
		return err_set(e, ERR_SYS, -r, "no guardian for the pager: %s", strerror(-r));
	return 0;
}

void *guard_user(struct guard *g)
{
	return g->user;
}

void guard_keep(struct guard *g, int fd)
{
	for (unsigned int i = 0; i < KEEP_MAX; i++)
		if (g->keep[i] == 0) {
			g->keep[i] = fd;
			return;
		}
	log_warn("guardian: descriptor %d is not kept: too many", fd);
}

void guard_unkeep(struct guard *g, int fd)
{
	for (unsigned int i = 0; i < KEEP_MAX; i++)
		if (g->keep[i] == fd)
			g->keep[i] = 0;
}

void guard_arm(struct guard *g)
{
	__atomic_store_n(&g->armed, true, __ATOMIC_SEQ_CST);
}

void guard_complete(struct guard *g)
{
	__atomic_store_n(&g->complete, true, __ATOMIC_SEQ_CST);
}

bool guard_completed(const struct guard *g)
{
	return flag(&g->complete);
}

void guard_over(struct guard *g)
{
	if (g)
		__atomic_store_n(&g->over, true, __ATOMIC_SEQ_CST);
}

int guard_watched(int fd)
{
	struct rlimit l = { .rlim_cur = WATCHED_FD + 1 };

	getrlimit(RLIMIT_NOFILE, &l);
	int high = fcntl(fd, F_DUPFD_CLOEXEC,
	                 l.rlim_cur > WATCHED_FD ? WATCHED_FD : (int)l.rlim_cur - 1);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

void guard_tree(struct guard *g, pid_t root)
{
	g->root_start = procs_start(root);
	__atomic_store_n(&g->root, root, __ATOMIC_RELEASE);
}

int guard_end_tree(struct guard *g, unsigned int *killed, struct err *e)
{
	pid_t root = __atomic_load_n(&g->root, __ATOMIC_ACQUIRE);

	*killed = 0;
	if (!flag(&g->armed) || flag(&g->complete) || flag(&g->over) || root == 0)
		return 0;
	if (procs_start(root) != g->root_start)
		return err_set(e, ERR_SYS, ESRCH, "its first process %d has ended before", root);
	return procs_end_tree(root, killed, e);
}

unsigned int guard_deaths(const struct guard *g)
{
	return __atomic_load_n(&g->deaths, __ATOMIC_RELAXED);
}

bool guard_alone(const struct guard *g)
{
	return dead(g->second);
}

unsigned int guard_pids(const struct guard *g, pid_t *v, unsigned int max)
{
	unsigned int n = 0;

	for (; n < max && n < SEATS; n++)
		v[n] = __atomic_load_n(&g->pid[n], __ATOMIC_RELAXED);
	return n;
}

static bool kept(const struct guard *g, int fd)
{
	for (unsigned int i = 0; i < KEEP_MAX; i++)
		if (g->keep[i] == fd)
			return true;
	return fd <= STDERR_FILENO;
}

static bool is_pidfd(const char *name)
{
	char path[64], to[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%.20s", name);
	return readlink(path, to, sizeof(to) - 1) > 0 &&
	       (!strncmp(to, PIDFD_LINK, strlen(PIDFD_LINK)) ||
	        !strncmp(to, PIDFD_LINK2, strlen(PIDFD_LINK2)));
}

int guard_close_rest(struct guard *g, bool (*ours)(void *arg, int fd), void *arg, struct err *e)
{
	AUTO(dir) DIR *d = opendir("/proc/self/fd");

	if (!d)
		return err_sys(e, "/proc/self/fd");
	for (struct dirent *de; (de = readdir(d));) {
		int fd = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : -1;

		/* the guardians behind us look through pidfds of this very table */
		if (fd < 0 || fd == dirfd(d) || kept(g, fd) || ours(arg, fd) ||
		    is_pidfd(de->d_name))
			continue;
		close(fd);
	}
	return 0;
}

struct arena *guard_arena(struct guard *g)
{
	return &g->arena;
}

struct pbook *guard_book(struct guard *g)
{
	return &g->book;
}
