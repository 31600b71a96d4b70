// SPDX-License-Identifier: GPL-2.0-or-later
/* lost.c - attributes of processes and threads that neither CRIU nor haul can restore: they are named. */
#include "hauler/inspect/tree/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define LINE_BYTES 512
#define SET_AGAIN  "the program has to set it again after the move"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE     62
#define PR_SCHED_CORE_GET 0
#endif
#ifndef PR_SCHED_CORE_SCOPE_THREAD
#define PR_SCHED_CORE_SCOPE_THREAD 0
#endif

/* A value of the line that begins with @key in /proc/PID/@file. Return: false: there is none */
static bool find_value(pid_t pid, const char *file, const char *key, char *out, size_t bytes)
{
	AUTO(file) FILE *f = inspect_open(pid, file);
	char line[LINE_BYTES];
	size_t n = strlen(key);

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) != 0)
			continue;
		const char *at = line + n + strspn(line + n, " \t");

		snprintf(out, bytes, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	return false;
}

/* Threads with one cookie share a core with no others; the kernel makes cookies, nobody can choose one. */
static int look_cookie(struct inspect *i, pid_t pid)
{
	unsigned long cookie = 0;

	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, pid, PR_SCHED_CORE_SCOPE_THREAD, &cookie) < 0 ||
	    !cookie)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "core-scheduling",
	        "the program, or coresched(1), has to make one after the move",
	        "pid %d has a cookie for core scheduling (PR_SCHED_CORE), and none at the "
	        "destination: strangers may run on the other threads of its core",
	        pid);
}

/* Field 38 of stat: what its parent gets when it ends. */
static int exit_signal(pid_t pid)
{
	char line[1024];
	int sig = SIGCHLD, field = 2;
	AUTO(file) FILE *f = inspect_open(pid, "stat");
	char *at = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;

	for (; at; at = strchr(at + 1, ' '))
		if (field++ == 38 && sscanf(at, "%d", &sig) == 1)
			break;
	return sig;
}

/* clone(2) with another signal, or none: CRIU makes every child with SIGCHLD. */
static int look_exit(struct inspect *i, pid_t pid)
{
	int sig = pid == i->root ? SIGCHLD : exit_signal(pid);

	if (sig == SIGCHLD)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "exit-signal",
	        "start the child by fork(2), whose signal is SIGCHLD",
	        "at its end pid %d sends its parent the signal %d (clone(2)), and "
	        "SIGCHLD at the destination; its parent can wait for it without __WCLONE",
	        pid, sig);
}

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif
#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif

/* CRIU knows no more than the older policies, and refuses to restore others. */
static int look_policy(struct inspect *i, pid_t pid, const char *tid)
{
	int policy = sched_getscheduler((pid_t)strtol(tid, NULL, 10));
	const char *name = policy < 0                                          ? NULL
	                   : (policy & ~SCHED_RESET_ON_FORK) == SCHED_DEADLINE ? "SCHED_DEADLINE"
	                   : (policy & ~SCHED_RESET_ON_FORK) == SCHED_EXT      ? "SCHED_EXT"
	                                                                       : NULL;

	return name ? inspect_say(i, SEV_BLOCKER, "scheduler",
	                          "give it another policy for the move: chrt --other --pid 0 TID",
	                          "thread %s of pid %d has the scheduling policy %s, which CRIU "
	                          "does not restore",
	                          tid, pid, name)
	            : 0;
}

struct fs {
	char dir[INSPECT_PATH_MAX], umask[16];
};

static void read_fs(pid_t pid, const char *tid, struct fs *out)
{
	char path[64];

	snprintf(path, sizeof(path), "task/%.12s/cwd", tid);
	if (inspect_link(pid, path, out->dir, sizeof(out->dir)) <= 0)
		out->dir[0] = 0;
	snprintf(path, sizeof(path), "task/%.12s/status", tid);
	if (!find_value(pid, path, "Umask:", out->umask, sizeof(out->umask)))
		out->umask[0] = 0;
}

/* A working directory or umask that is not the leader's (unshare(CLONE_FS)). */
static int look_thread(struct inspect *i, pid_t pid, const char *tid, const struct fs *leader)
{
	struct fs own;

	read_fs(pid, tid, &own);
	bool dir = own.dir[0] && strcmp(own.dir, leader->dir) != 0;

	if (!dir && (!own.umask[0] || !strcmp(own.umask, leader->umask)))
		return 0;
	return inspect_say(i, SEV_WARNING, "thread-directory", SET_AGAIN,
	                   "thread %s of pid %d has a %s of its own (unshare(CLONE_FS)); at the "
	                   "destination it has the process's",
	                   tid, pid, dir ? "working directory" : "umask");
}

static int look_threads(struct inspect *i, pid_t pid)
{
	char path[32], name[16];
	struct fs leader;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	snprintf(name, sizeof(name), "%d", pid);
	read_fs(pid, name, &leader);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; r == 0 && d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0])) {
			r = look_policy(i, pid, de->d_name);
			if (r == 0 && strcmp(de->d_name, name) != 0)
				r = look_thread(i, pid, de->d_name, &leader);
		}
	return r;
}

int inspect_lost(struct inspect *i, pid_t pid)
{
	static int (*const looks[])(struct inspect *, pid_t) = { look_cookie, look_exit,
		                                                 look_threads };
	int r = 0;

	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(looks); k++)
		r = looks[k](i, pid);
	return r;
}
