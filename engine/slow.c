// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * slow.c - take some of its time from a process tree; slow.h says how. The keeper is forked from a
 * process with threads: it uses system calls only, nothing of its own memory.
 */
#include "engine/slow.h"

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
#include "engine/engine.h"
#include "engine/frost.h"

#define NAME       "haul-slow-"
#define PATH_BYTES 512

/* Frozen and thawed once in this time: short for who waits for the program, long for a freezer. */
#define TURN_MS 50

/* A tree that forks is moved in so many passes, or not at all. */
#define PASSES 50

/* It is not waited for any longer. */
#define KEEPER_LIMIT_MS 1000

struct slow {
	char dir[PATH_BYTES], parent[PATH_BYTES];
	int lock; /* the open directory; ours and the keeper's */
	int tell; /* one byte: percent; its end: undo */
	pid_t keeper;
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

/* Everybody in @dir one up, where it was. Return: how many there were, or -errno */
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

/* Thawed first: from then on nobody waits. Also when it is half made, or undone already. */
static int undo(int dir, const char *path)
{
	int r = put(dir, "cgroup.freeze", "0", 1);

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

		if (poll(&p, 1, percent ? ms : -1) > 0) {
			if (read(told, &percent, 1) != 1)
				break;
			continue;
		}
		frozen = percent && !frozen;
		put(dir, "cgroup.freeze", frozen ? "1" : "0", 1);
	}
	undo(dir, path);
}

/* Nothing of haul's may live on in it: connections and journals end with their owner. */
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

/* One more pass over the tree. Return: how many were not in it, or -errno with @e set */
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
	return s->keeper < 0 ? err_sys(e, "fork") : 0;
}

int slow_new(struct slow **out, pid_t root, uint64_t id, struct err *e)
{
	AUTO(slow) struct slow *s = calloc(1, sizeof(*s));
	AUTO(mem) char *from = frost_cgroup_of(root);
	char mount[PATH_BYTES];

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->lock = s->tell = -1;
	if (!from || frost_mount(mount, sizeof(mount)) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "no cgroup version 2 here");
	if (snprintf(s->parent, sizeof(s->parent), "%s%s", mount, strcmp(from, "/") ? from : "") >=
	            (int)sizeof(s->parent) - 40 ||
	    snprintf(s->dir, sizeof(s->dir), "%.460s/" NAME "%016llx", s->parent,
	             (unsigned long long)id) < 0)
		return err_set(e, ERR_SYS, ENAMETOOLONG, "the name of its cgroup");
	if (mkdir(s->dir, 0755) < 0)
		return err_sys(e, "make %s", s->dir);
	s->lock = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->lock < 0 || flock(s->lock, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "own %s", s->dir);
	int r = start_keeper(s, e), n = 1;

	for (int i = 0; r == 0 && n > 0 && i < PASSES; i++)
		n = move_in(s, root, from, e);
	if (r == 0 && n > 0)
		r = err_set(e, ERR_SYS, EBUSY, "it forks faster than it can be moved to a cgroup");
	if (r < 0 || n < 0)
		return r < 0 ? r : n;
	*out = steal(s);
	return 0;
}

/* It is not reaped before slow_free(): its pid stays its own. */
bool slow_kept(const struct slow *s)
{
	siginfo_t i = { 0 };

	return waitid(P_PID, (id_t)s->keeper, &i, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       i.si_pid == 0;
}

int slow_set(struct slow *s, unsigned int percent, struct err *e)
{
	unsigned char byte = (unsigned char)percent;

	if (slow_kept(s) && write(s->tell, &byte, 1) == 1)
		return 0;
	return err_set(e, ERR_SYS, EPIPE, "the process that slows it down is gone");
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
	/* the keeper has done it, unless it was killed or stopped */
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

static unsigned int swept; /* nftw() hands nothing on */

static int sweep_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	if (type != FTW_D || strncmp(path + f->base, NAME, strlen(NAME)))
		return 0;
	AUTO(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0)
		return 0; /* somebody owns it */
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
