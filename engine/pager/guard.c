// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guard.c - processes that wait behind the one with the pager, and replace it when it dies.
 *
 * They share its table of descriptors (CLONE_FILES): a descriptor that it opens is theirs in the
 * same instant, including userfaultfds received through CRIU's socket or in a fork event. No copy
 * is ever sent, so there is no moment in which a death would close one.
 *
 * There are three seats in memory that all share: the holder of the first one serves, two more
 * wait behind it. A seat is free if its holder is dead or has moved to the first one; it is taken
 * in one atomic step, so parentage does not matter and no two processes can serve. A guardian that
 * finds a free seat forks a process for it; a process that finds no seat for itself ends.
 */
#include "engine/pager/guard.h"

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
#include "engine/store/arena.h"
#include "engine/pager/priv.h"
#include "engine/proc/proc.h"

#define SEATS        3
#define WATCHED_FD   4000 /* usually higher than any userfaultfd */
#define KEEP_MAX     16
#define SIT_TURNS    2000 /* 0.2 s */
#define WATCH_MS     100 /* examine a process that took a seat meanwhile, too */
#define QUICK_DEATHS 16u
#define PIDFD_LINK   "anon_inode:[pidfd]"
#define PIDFD_LINK2  "pidfd:" /* since 6.9 they are files of pidfs */

struct guard {
	struct arena arena; /* must be first: see arena_new() */
	bool armed, complete, over; /* atomic */
	unsigned int deaths;
	uint64_t seat[SEATS]; /* atomic: a pid, and a pidfd in our table; 0: never taken */
	int keep[KEEP_MAX]; /* 0: free */
	struct guard_ops ops;
	pid_t root; /* root of the tree that waits for pages; 0: not yet known */
	uint64_t root_start; /* its start time, in the kernel's ticks */
	struct pbook book;
	_Alignas(64) uint8_t user[GUARD_USER_BYTES];
};

static void guardian(struct guard *g, bool first);

static bool flag(const bool *b)
{
	return __atomic_load_n(b, __ATOMIC_ACQUIRE);
}

/* ---- seats ---- */

static uint64_t holder(const struct guard *g, unsigned int i)
{
	return __atomic_load_n(&g->seat[i], __ATOMIC_ACQUIRE);
}

static pid_t pid_in(uint64_t who)
{
	return (pid_t)(who >> 32);
}

static int pidfd_in(uint64_t who)
{
	return (int)(who & UINT32_MAX);
}

/* pidfds are never closed, so no number is used twice. Return: 0, errno is set */
static uint64_t myself(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	return pidfd < 0 ? 0 : (uint64_t)getpid() << 32 | (unsigned int)pidfd;
}

static bool dead(uint64_t who)
{
	struct pollfd p = { .fd = pidfd_in(who), .events = POLLIN };

	return who == 0 || poll(&p, 1, 0) > 0;
}

static bool is_free(const struct guard *g, unsigned int i, uint64_t who)
{
	return dead(who) || (i > 0 && who == holder(g, 0));
}

static bool vacant(const struct guard *g, unsigned int i)
{
	return is_free(g, i, holder(g, i));
}

static bool room_behind(const struct guard *g)
{
	for (unsigned int i = 1; i < SEATS; i++)
		if (vacant(g, i))
			return true;
	return false;
}

static bool take(struct guard *g, unsigned int i, uint64_t me)
{
	uint64_t was = holder(g, i);

	return is_free(g, i, was) &&
	       __atomic_compare_exchange_n(&g->seat[i], &was, me, false, __ATOMIC_ACQ_REL,
	                                   __ATOMIC_RELAXED);
}

/* Return: false when all seats are taken by others */
static bool sit(struct guard *g, uint64_t me)
{
	for (unsigned int i = 1; i < SEATS; i++)
		if (holder(g, i) == me)
			return true;
	for (unsigned int i = 1; i < SEATS; i++)
		if (take(g, i, me))
			return true;
	return false;
}

static bool has_a_seat(const struct guard *g, pid_t pid)
{
	for (unsigned int i = 0; i < SEATS; i++)
		if (pid_in(holder(g, i)) == pid && !vacant(g, i))
			return true;
	return false;
}

/* ---- guardians ---- */

/* Not fork(), because the table of descriptors must be shared. We have one thread. */
static pid_t clone_with_files(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0UL);
}

/*
 * Fork one more guardian and wait until it has a seat, because any of us may be dying already:
 * after we start threads we can no longer fork. @first: the very first one
 */
static int make_guardian(struct guard *g, bool first)
{
	struct timespec t = { .tv_nsec = 100000 };
	pid_t pid = 0;

	for (int i = 0; i < SIT_TURNS && !flag(&g->over); i++) {
		if (pid == 0) {
			fflush(NULL);
			pid = clone_with_files();
			if (pid < 0)
				return -errno;
			if (pid == 0)
				guardian(g, first);
		}
		nanosleep(&t, NULL);
		if (has_a_seat(g, pid))
			break;
		if (waitpid(pid, NULL, WNOHANG) != 0) {
			if (!room_behind(g))
				break;
			pid = 0;
		}
	}
	return 0;
}

static void __attribute__((noreturn)) take_over(struct guard *g)
{
	unsigned int deaths = __atomic_add_fetch(&g->deaths, 1, __ATOMIC_RELAXED);
	struct timespec pause = { .tv_sec = deaths > QUICK_DEATHS };
	int r = make_guardian(g, false);
	sigset_t none;

	if (r < 0)
		log_warn("guardian: cannot start another guardian behind this one: %s",
		         strerror(-r));
	/* whatever kills every successor must not keep the host busy; threads wait meanwhile */
	nanosleep(&pause, NULL);
	prctl(PR_SET_NAME, "hauld");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_err("the process with the pager is dead; pid %d takes its place", getpid());
	_exit(g->ops.succeed(g->ops.arg, g));
}

/* Before the commit. If this process dies in the middle, the next one starts over. */
static void __attribute__((noreturn)) undo(struct guard *g)
{
	log_warn("guardian: the worker died before the commit: undone");
	if (g->ops.undone)
		g->ops.undone(g->ops.arg, g);
	guard_over(g);
	_exit(0);
}

/* A session of its own: no terminal, no signals to a process group. */
static void be_apart(void)
{
	sigset_t all;

	prctl(PR_SET_NAME, "haul-guard");
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static void wait_for_a_death(const struct guard *g, uint64_t me)
{
	struct pollfd p[SEATS];

	for (unsigned int i = 0; i < SEATS; i++) {
		uint64_t who = holder(g, i);

		p[i] = (struct pollfd){ .fd = who == me || who == 0 ? -1 : pidfd_in(who),
			                .events = POLLIN };
	}
	poll(p, SEATS, WATCH_MS);
}

static void __attribute__((noreturn)) guardian(struct guard *g, bool first)
{
	struct timespec later = { .tv_nsec = WATCH_MS * 1000000 };
	uint64_t me = myself();
	bool told = false;

	be_apart();
	/*
	 * The others inherit this state: guardians must not open or close anything while a
	 * successor may be closing unknown descriptors in the shared table.
	 */
	if (first)
		procs_spare(getpid());
	while (me) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		bool serves = take(g, 0, me);

		/* the process that served said so before it died */
		if (flag(&g->over))
			_exit(0);
		if (serves && flag(&g->armed))
			take_over(g);
		if (serves)
			undo(g);
		if (!sit(g, me))
			_exit(0);
		int r = room_behind(g) ? make_guardian(g, false) : 0;

		if (r == 0) {
			wait_for_a_death(g, me);
			continue;
		}
		if (!told)
			log_warn("guardian: cannot fill an empty seat: %s", strerror(-r));
		told = true;
		nanosleep(&later, NULL);
	}
	log_warn("guardian: %s", strerror(errno));
	_exit(1);
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
	uint64_t me = myself();

	if (me == 0)
		return err_sys(e, "no guardian for the pager");
	g->ops = *ops;
	__atomic_store_n(&g->seat[0], me, __ATOMIC_RELEASE);
	tzset(); /* otherwise the first line of a guardian's log would open a file */
	int r = make_guardian(g, true);

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
	log_warn("guardian: too many descriptors: %d is not kept", fd);
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
	int r = procs_start(root) == g->root_start ? procs_end_tree(root, killed, e) : 0;

	if (r)
		return r;
	if (*killed == 0)
		return err_set(e, ERR_SYS, ESRCH, "its first process %d exited before", root);
	return 0;
}

unsigned int guard_deaths(const struct guard *g)
{
	return __atomic_load_n(&g->deaths, __ATOMIC_RELAXED);
}

bool guard_alone(const struct guard *g)
{
	for (unsigned int i = 1; i < SEATS; i++)
		if (!vacant(g, i))
			return false;
	return true;
}

unsigned int guard_pids(const struct guard *g, pid_t *v, unsigned int max)
{
	unsigned int n = 0;

	for (; n < max && n < SEATS; n++)
		v[n] = pid_in(holder(g, n));
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

		/* the guardians behind us use pidfds of this same table */
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
