// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * slow.c - throttle a process tree; slow.h says how. The keeper is forked from a process with
 * threads: it uses system calls only, nothing of its own memory.
 */
#include "engine/proc/slow.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"

/*
 * Prefix of its child cgroup's name; the migration and the former cpu.max of the parent follow:
 * "-max-100000".
 */
#define NAME       "haul-slow-"
#define NAME_BYTES (sizeof(NAME) - 1 + 16)
#define PATH_BYTES 512

/*
 * The period in which it is frozen and thawed once, or to which its quota applies: short for
 * clients of the program, long for a freezer.
 */
#define TURN_MS 50

/* The kernel accepts no smaller quota and no longer period (kernel/sched/core.c). */
#define QUOTA_LEAST_US  1000
#define PERIOD_MOST_US  1000000
#define LIMIT_MAX_BYTES 48

/* Maximum number of passes to move a tree that forks meanwhile. */
#define PASSES 50

/* How long to wait for the keeper to end. */
#define KEEPER_LIMIT_MS 1000

struct slow {
	char dir[PATH_BYTES], parent[PATH_BYTES];
	int lock; /* the open directory; the keeper has it too */
	int tell; /* one byte: percent; end of file: undo */
	pid_t keeper;
	bool quota; /* by cpu.max, else by the freezer */
	double cpus; /* CPUs that it may use at full speed, and did use */
};

/* ---- with system calls only ---- */

static int put(int dir, const char *file, const char *text, size_t bytes)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 || write(fd, text, bytes) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

/* Move every process of @dir up to its former cgroup. Return: their number; -errno */
static int move_up(int dir)
{
	char text[4096], pid[16];
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), n = 0, r = 0;
	size_t at = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	while ((got = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < got; i++)
			if (text[i] >= '0' && text[i] <= '9' && at < sizeof(pid)) {
				pid[at++] = text[i];
			} else if (at) {
				int x = put(dir, "../cgroup.procs", pid, at);

				if (x < 0 && x != -ESRCH)
					r = x;
				at = 0;
				n++;
			}
	close(fd);
	return r < 0 ? r : n;
}

/*
 * The former cpu.max of the parent, from the name of its child. Return: its length; 0: it was not
 * changed
 */
static size_t limit_of(const char *path, char *out)
{
	const char *at = strrchr(path, '/') + 1;
	size_t n = 0;

	if (strlen(at) <= NAME_BYTES)
		return 0;
	for (at += NAME_BYTES + 1; *at && n < LIMIT_MAX_BYTES - 1; at++)
		out[n++] = *at == '-' ? ' ' : *at;
	return n;
}

/*
 * Thaw first: from then on no process waits. Works also on a cgroup that is half made or already
 * undone.
 */
static int undo(int dir, const char *path)
{
	char limit[LIMIT_MAX_BYTES];
	size_t n = limit_of(path, limit);
	int r = put(dir, "cgroup.freeze", "0", 1);

	if (n)
		put(dir, "../cpu.max", limit, n);
	for (int i = 0; i < PASSES; i++) {
		r = move_up(dir);
		if (r == 0 && (rmdir(path) == 0 || errno == ENOENT))
			return 0;
		if (r == -ENOENT || r == -ENODEV) /* removed */
			return 0;
	}
	return r < 0 ? r : -EBUSY;
}

static void keep(int dir, const char *path, int told)
{
	unsigned char percent = 0;

	for (bool frozen = false;;) {
		int ms = frozen ? TURN_MS * percent / 100 : TURN_MS - TURN_MS * percent / 100;
		struct pollfd p = { .fd = told, .events = POLLIN };

		if (poll(&p, 1, percent || frozen ? ms : -1) > 0) {
			if (read(told, &percent, 1) != 1)
				break;
			continue;
		}
		frozen = percent && !frozen;
		put(dir, "cgroup.freeze", frozen ? "1" : "0", 1);
	}
	undo(dir, path);
}

/* It must keep no descriptor of haul open: connections and journal locks end with haul. */
static _Noreturn void keeper(struct slow *s, int told)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	prctl(PR_SET_NAME, "haul-slow");
	if (dup2(told, 0) < 0 || dup2(s->lock, 1) < 0)
		_exit(1);
	close_range(2, ~0U, 0);
	keep(1, s->dir, 0);
	_exit(0);
}

/* ---- making it ---- */

/*
 * One more pass over the tree. Return: the number of processes that were not yet in the cgroup;
 * -errno with @e set
 */
static int move_in(struct slow *s, pid_t root, const char *from, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root, &l, e), n = 0;
	const char *own = strrchr(s->dir, '/') + 1;

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		AUTO(mem) char *at = frost_cgroup_of(l.pid[i]);
		const char *last = at ? strrchr(at, '/') : NULL;
		char text[16];

		if (!at || procs_state(l.pid[i]) == 'Z' || (last && !strcmp(last + 1, own)))
			continue;
		if (strcmp(at, from)) {
			r = err_set(e, ERR_SYS, ENOTSUP, "it is in several cgroups (%s, %s)", from,
			            at);
			break;
		}
		int x = put(s->lock, "cgroup.procs", text,
		            (size_t)snprintf(text, sizeof(text), "%d", l.pid[i]));

		if (x < 0 && x != -ESRCH)
			r = err_set(e, ERR_SYS, -x, "process %d into %s: %s", l.pid[i], s->dir,
			            strerror(-x));
		n++;
	}
	procs_fini(&l);
	return r < 0 ? r : n;
}

static int start_keeper(struct slow *s, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	s->tell = p[1];
	s->keeper = fork();
	if (s->keeper == 0)
		keeper(s, p[0]);
	close(p[0]);
	if (s->keeper > 0) /* without it the tree would stay frozen until someone notices */
		procs_spare(s->keeper);
	return s->keeper < 0 ? err_sys(e, "fork") : 0;
}

/* Every process in the cgroup of @dir is in @l, and the cgroup has no children. */
static bool alone_in(const char *dir, const struct proc_list *l)
{
	char path[2 * PATH_BYTES];
	int pid;
	struct stat st;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f || stat(dir, &st) < 0 || st.st_nlink > 2)
		return false;
	while (fscanf(f, "%d", &pid) == 1) {
		size_t i = 0;

		while (i < l->n && l->pid[i] != pid)
			i++;
		if (i == l->n)
			return false;
	}
	return !ferror(f);
}

/* All of the tree and nothing but the tree. */
static bool alone(const struct slow *s, pid_t root, const char *from)
{
	struct proc_list l = { 0 };
	struct err ignore = ERR_INIT;
	bool is = procs_tree(root, &l, &ignore) == 0 && alone_in(s->parent, &l);

	for (size_t i = 0; is && i < l.n; i++) {
		AUTO(mem) char *at = frost_cgroup_of(l.pid[i]);

		is = !at || !strcmp(at, from);
	}
	procs_fini(&l);
	return is;
}

/*
 * Choose between cpu.max and the freezer: @limit becomes part of the name, empty for the freezer.
 * cpu.max exists when the cpu controller is enabled for this cgroup. A lower limit that is set
 * already is kept.
 */
static void choose(struct slow *s, pid_t root, const char *from, char *limit, size_t bytes)
{
	char path[2 * PATH_BYTES], quota[24] = "";
	unsigned int period_us = 0;

	limit[0] = '\0';
	snprintf(path, sizeof(path), "%s/cpu.max", s->parent);
	AUTO(file) FILE *f = s->cpus > 0 ? fopen(path, "re") : NULL;

	if (!f || fscanf(f, "%23s %u", quota, &period_us) != 2 || !period_us ||
	    !alone(s, root, from))
		return;
	if (strcmp(quota, "max") && strtod(quota, NULL) / period_us < s->cpus)
		s->cpus = strtod(quota, NULL) / period_us;
	s->quota = true;
	snprintf(limit, bytes, "-%s-%u", quota, period_us);
}

static int enter(struct slow *s, pid_t root, const char *from, struct err *e)
{
	int n = 1;

	for (int i = 0; n > 0 && i < PASSES; i++)
		n = move_in(s, root, from, e);
	return n > 0 ? err_set(e, ERR_SYS, EBUSY,
	                       "it forks faster than it can be moved to a cgroup")
	             : n;
}

int slow_new(struct slow **out, pid_t root, uint64_t id, double cpus, struct err *e)
{
	AUTO(slow) struct slow *s = calloc(1, sizeof(*s));
	AUTO(mem) char *from = frost_cgroup_of(root);
	char mount[PATH_BYTES], limit[LIMIT_MAX_BYTES];

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->lock = s->tell = -1;
	s->cpus = cpus;
	if (!from || frost_mount(mount, sizeof(mount)) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "no cgroup version 2 here");
	if (snprintf(s->parent, sizeof(s->parent), "%s%s", mount, strcmp(from, "/") ? from : "") >=
	    (int)(sizeof(s->parent) - NAME_BYTES - sizeof(limit) - 2))
		return err_set(e, ERR_SYS, ENAMETOOLONG, "the name of its cgroup");
	choose(s, root, from, limit, sizeof(limit));
	snprintf(s->dir, sizeof(s->dir), "%.400s/" NAME "%016llx%s", s->parent,
	         (unsigned long long)id, limit);
	if (mkdir(s->dir, 0755) < 0)
		return err_sys(e, "make %s", s->dir);
	s->lock = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->lock < 0 || flock(s->lock, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "own %s", s->dir);
	int r = start_keeper(s, e);

	if (r < 0)
		return r;
	if (!s->quota)
		r = enter(s, root, from, e);
	if (r < 0)
		return r;
	*out = steal(s);
	return 0;
}

/* It is not reaped before slow_free(), so its pid is not used again. */
bool slow_kept(const struct slow *s)
{
	siginfo_t i = { 0 };

	return waitid(P_PID, (id_t)s->keeper, &i, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       i.si_pid == 0 && procs_state(s->keeper) != 'T';
}

void slow_home(char *cgroup)
{
	char *last = strrchr(cgroup, '/');

	if (last && !strncmp(last + 1, NAME, sizeof(NAME) - 1))
		last[last == cgroup] = '\0';
}

const char *slow_by(const struct slow *s)
{
	return s->quota ? "cpu.max" : "freezer";
}

/* The program gets a share of the CPUs that it used, in each period. */
static int set_quota(const struct slow *s, unsigned int percent, struct err *e)
{
	double period_us = TURN_MS * 1000, share = s->cpus * (100 - percent) / 100;
	char text[64];

	if (share * period_us < QUOTA_LEAST_US)
		period_us = share * PERIOD_MOST_US > QUOTA_LEAST_US ? QUOTA_LEAST_US / share
		                                                    : PERIOD_MOST_US;
	double quota_us = share * period_us > QUOTA_LEAST_US ? share * period_us : QUOTA_LEAST_US;
	int n = snprintf(text, sizeof(text), "%.0f %.0f", quota_us, period_us);
	int r = put(s->lock, "../cpu.max", text, (size_t)n);

	return r < 0 ? err_set(e, ERR_SYS, -r, "cpu.max of %s: %s", s->parent, strerror(-r)) : 0;
}

int slow_set(struct slow *s, unsigned int percent, struct err *e)
{
	unsigned char byte = (unsigned char)percent;

	if (slow_kept(s) && s->quota)
		return set_quota(s, percent, e);
	if (slow_kept(s) && write(s->tell, &byte, 1) == 1)
		return 0;
	return err_set(e, ERR_SYS, EPIPE, "the throttling process is gone");
}

void slow_free(struct slow *s)
{
	if (!s)
		return;
	if (s->tell >= 0)
		close(s->tell);
	for (int i = 0; s->keeper > 0; i++) {
		if (i == KEEPER_LIMIT_MS)
			kill(s->keeper, SIGKILL);
		pid_t r = waitpid(s->keeper, NULL, i < KEEPER_LIMIT_MS ? WNOHANG : 0);

		if (r == s->keeper || (r < 0 && errno == ECHILD))
			break;
		usleep(1000);
	}
	/* the keeper has undone it, unless it was killed or stopped */
	if (s->lock >= 0) {
		int r = undo(s->lock, s->dir);

		if (r < 0)
			log_err("%s cannot be removed: %s", s->dir, strerror(-r));
		close(s->lock);
	} else if (s->dir[0]) {
		rmdir(s->dir);
	}
	free(s);
}

/* ---- what the dead have left ---- */

static unsigned int swept; /* nftw() passes no argument to its function */

static int sweep_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	if (type != FTW_D || strncmp(path + f->base, NAME, strlen(NAME)))
		return 0;
	AUTO(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return 0; /* a living haul owns it */
	int r = undo(dir, path);

	if (r < 0)
		log_err("%s cannot be removed: %s", path, strerror(-r));
	swept += r == 0;
	return 0;
}

unsigned int slow_sweep(void)
{
	char mount[PATH_BYTES];

	swept = 0;
	if (frost_mount(mount, sizeof(mount)) == 0)
		nftw(mount, sweep_one, 16, FTW_PHYS | FTW_MOUNT);
	return swept;
}
