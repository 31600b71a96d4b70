// SPDX-License-Identifier: GPL-2.0-or-later
/* within.c - a child in the pid namespace of another process. */
#include "engine/proc/within.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/host/hostroot.h"
#include "engine/proc/pidspace.h"

#define FAILED_STATUS 1

static const struct timespec look_every = { .tv_nsec = 50000000 };
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP };

bool within_shares(pid_t pid, const char *what)
{
	struct stat ours, theirs;
	char path[64], own[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	snprintf(own, sizeof(own), "/proc/self/%s", what);
	return stat(own, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
	       ours.st_ino == theirs.st_ino;
}

bool within_can(pid_t pid)
{
	return !pidspace_is_ours(pid) && pidspace_inner(pid) > 1 && within_shares(pid, "ns/user") &&
	       within_shares(pid, "root/.");
}

bool within_spaces(pid_t pid)
{
	return (!within_shares(pid, "ns/mnt") || !within_shares(pid, "ns/uts")) &&
	       pidspace_is_ours(pid) && within_shares(pid, "ns/user") &&
	       within_shares(pid, "root/.");
}

/* The /proc there must be that of the pid namespace: CRIU looks into no other. */
static int has_own_proc(void)
{
	char text[16] = "";

	return readlink("/proc/self", text, sizeof(text) - 1) > 0 && atoi(text) == getpid();
}

/* In the child. @parent: its number there, 0 in a pid namespace above */
static void go_in(int mounts, int uts, pid_t parent, const char *cwd)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || hostroot_keep() < 0)
		_exit(FAILED_STATUS);
	if (setns(mounts, CLONE_NEWNS) < 0 || setns(uts, CLONE_NEWUTS) < 0) {
		fprintf(stderr, "haul: the namespaces of the process: %s\n", strerror(errno));
		_exit(FAILED_STATUS);
	}
	if (chdir(cwd) < 0 && chdir("/") < 0)
		_exit(FAILED_STATUS);
	if (has_own_proc())
		return;
	fputs("haul: the process is in a pid namespace that has no /proc mounted where the process "
	      "sees it\n",
	      stderr);
	_exit(FAILED_STATUS);
}

static void signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(set, passed_on[i]);
	sigaddset(set, SIGCHLD);
}

pid_t within_fork(pid_t pid, struct err *e)
{
	char cwd[PATH_MAX];
	sigset_t set, before;
	AUTO(fd) int own = pidspace_open(getpid(), "pid", e);
	AUTO(fd) int pids = own < 0 ? -1 : pidspace_open(pid, "pid", e);
	AUTO(fd) int mounts = pids < 0 ? -1 : pidspace_open(pid, "mnt", e);
	AUTO(fd) int uts = mounts < 0 ? -1 : pidspace_open(pid, "uts", e);

	if (uts < 0)
		return err_code(e);
	pid_t parent = pidspace_is_ours(pid) ? getpid() : 0;
	if (!getcwd(cwd, sizeof(cwd)))
		snprintf(cwd, sizeof(cwd), "/");
	if (setns(pids, CLONE_NEWPID) < 0)
		return err_sys(e, "the pid namespace of process %d", pid);
	fflush(NULL);
	signals(&set);
	sigprocmask(SIG_BLOCK, &set, &before);
	pid_t child = fork();

	if (child == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		go_in(mounts, uts, parent, cwd);
		return 0;
	}
	if (child < 0)
		err_sys(e, "fork");
	if (setns(own, CLONE_NEWPID) < 0 && child > 0)
		err_sys(e, "back to our pid namespace");
	return child < 0 ? err_code(e) : child;
}

int within_wait(pid_t child)
{
	siginfo_t info;
	sigset_t set;
	int status;

	signals(&set);
	for (;;) {
		pid_t r = waitpid(child, &status, WNOHANG);

		if (r == child || (r < 0 && errno != EINTR))
			break;
		/* another thread may have taken SIGCHLD */
		if (sigtimedwait(&set, &info, &look_every) <= 0 || info.si_signo == SIGCHLD)
			continue;
		/* a terminal has sent it to the child, too */
		if (info.si_code != SI_KERNEL)
			kill(child, info.si_signo);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
