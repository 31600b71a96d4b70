// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-inject.c - the injection into a process that does not run: frozen with its cgroup, out of its
 * share of the processor, waiting in vfork. It is refused or given up, and the process continues with
 * its own registers, its own signal mask, and nothing open.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"
#include "tests/checks.h"

#define STARVED_TRIES 8

static volatile uint64_t *ticks;

/* ---- targets ---- */

static void sleeps(void)
{
	for (;; ++*ticks)
		usleep(1000);
}

static void computes(void)
{
	for (uint64_t a = 1, b = 1;; ++*ticks)
		for (int i = 0; i < 1000; i++, a = a * 3 + 1, b = b * 3 + 1)
			if (a != b)
				_exit(9);
}

static void waits_in_vfork(void)
{
	if (vfork() == 0) {
		for (int i = 0; i < 2000; i++, ++*ticks)
			usleep(1000);
		_exit(0);
	}
	sleeps();
}

static pid_t target(const char *name, void (*run)(void))
{
	checks_title = name;
	*ticks = 0;
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		run();
	while (*ticks < 10)
		usleep(1000);
	return pid;
}

static void goes_on(pid_t pid)
{
	uint64_t limit = deadline_in_ms(60000), before = *ticks;
	char cmd[160];
	int status = 0;

	while (*ticks < before + 10 && now_us() < limit)
		usleep(1000);
	CHECK(waitpid(pid, &status, WNOHANG) == 0, "it ended: status %#x", status);
	CHECK(*ticks >= before + 10, "it does not run");
	snprintf(cmd, sizeof(cmd),
	         "grep -q '^SigBlk:.0000000000000000' /proc/%d/status && "
	         "! ls -l /proc/%d/fd | grep -q userfaultfd",
	         pid, pid);
	CHECK(system(cmd) == 0, "its mask or descriptors are not its own");
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int inject(pid_t pid, struct err *e)
{
	AUTO(fd) int fd = -1;

	err_clear(e);
	return inject_uffd(pid, &fd, e);
}

/* ---- cgroups ---- */

static int put(const char *dir, const char *file, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* A new group below @root with @pid in it; an empty @dir: not possible here */
static void group(const char *root, pid_t pid, char dir[320])
{
	char text[16];

	snprintf(dir, 320, "%s/t-inject-%d", root, getpid());
	snprintf(text, sizeof(text), "%d", pid);
	if (mkdir(dir, 0755) < 0 || put(dir, "cgroup.procs", text) < 0) {
		rmdir(dir);
		dir[0] = 0;
	}
}

/* In a process that does not see that it is frozen: as if that came in the middle. */
static int inject_blindly(pid_t pid, const char *root)
{
	struct err e = ERR_INIT;
	int status = -1;
	pid_t blind = fork();

	if (blind == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    umount2(root, MNT_DETACH) < 0)
			_exit(77);
		_exit(inject(pid, &e) == 0);
	}
	waitpid(blind, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void frozen(void)
{
	char root[256], dir[320] = "";

	pid_t pid = target("frozen", sleeps);

	if (frost_mount(root, sizeof(root)) == 0)
		group(root, pid, dir);
	if (!dir[0] || put(dir, "cgroup.freeze", "1") < 0) {
		printf("frozen: not possible here\n");
		end(pid);
		return;
	}
	usleep(100000);
	struct err e = ERR_INIT;

	CHECK(inject(pid, &e) == -EBUSY && strstr(e.msg, "frozen") && e.fix[0], "%s", e.msg);
	int r = inject_blindly(pid, root);

	CHECK(r == 0 || r == 77, "%d", r);
	CHECK(put(dir, "cgroup.freeze", "0") == 0, "thaw");
	goes_on(pid);
	end(pid);
	rmdir(dir);
}

/* A millisecond in each second: it stops in time, or does not; then it gets no further. */
static void starved(void)
{
	char dir[320];
	struct err e = ERR_INIT;
	int n = 0;
	pid_t pid = target("starved", computes);

	group("/sys/fs/cgroup/cpu", pid, dir);
	if (!dir[0] || put(dir, "cpu.cfs_period_us", "1000000") < 0 ||
	    put(dir, "cpu.cfs_quota_us", "1000") < 0) {
		printf("starved: not possible here\n");
	} else {
		for (int i = 0; i < STARVED_TRIES; i++)
			n += inject(pid, &e) == 0;
		printf("starved: %d of %d injections\n", n, STARVED_TRIES);
		CHECK(put(dir, "cpu.cfs_quota_us", "-1") == 0, "errno %d", errno);
	}
	goes_on(pid);
	end(pid);
	rmdir(dir);
}

static void in_vfork(void)
{
	struct err e = ERR_INIT;
	pid_t pid = target("in vfork", waits_in_vfork);
	uint64_t t0 = now_us();

	CHECK(inject(pid, &e) == -ETIMEDOUT, "%s", e.msg);
	CHECK(now_us() - t0 < 900000, "%llu us", (unsigned long long)(now_us() - t0));
	while (*ticks < 2000)
		usleep(1000);
	goes_on(pid);
	CHECK(inject(pid, &e) == 0, "%s", e.msg);
	goes_on(pid);
	end(pid);
}

int main(void)
{
	ticks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setbuf(stdout, NULL);
	alarm(120);
	if (geteuid() != 0 || tracker_probe(TRACKER_WP_ASYNC, NULL) < 0) {
		printf("skipped: needs root and userfaultfd with WP_ASYNC\n");
		return 77;
	}
	frozen();
	starved();
	in_vfork();
	return checks_end();
}
