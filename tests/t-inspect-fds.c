// SPDX-License-Identifier: GPL-2.0-or-later
/* t-inspect-fds.c - children with descriptors of every kind, and what is found of them. */
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>

#include "tests/insp-child.h"

#define FILE_PATH "/var/tmp/t-inspect-file"

static int got(int fd)
{
	return fd < 0 ? 77 : 0;
}

/* ---- harmless ---- */

static int harmless(void *arg)
{
	int ep = epoll_create1(0), ev = eventfd(0, 0), p[2], in = inotify_init();
	struct epoll_event e = { .events = EPOLLIN };
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) < 0 || pipe(p) < 0 || signalfd(-1, &set, 0) < 0 ||
	    timerfd_create(CLOCK_MONOTONIC, 0) < 0 || inotify_add_watch(in, "/", IN_CREATE) < 0)
		return 1;
	open("/dev/zero", O_RDONLY);
	open("/dev/urandom", O_RDONLY);
	open("/proc/self/status", O_RDONLY);
	open("/proc/meminfo", O_RDONLY);
	open("/proc/self/ns/net", O_RDONLY);
	pidfd_open(getpid(), 0);
	return memfd_create("x", 0) < 0;
}

/* ---- objects of the kernel ---- */

static int io_uring(void *arg)
{
	struct io_uring_params p = { 0 };

	(void)arg;
	return got((int)syscall(SYS_io_uring_setup, 8, &p));
}

/* The descriptor is closed, but the rings are mapped: it still works. */
static int io_uring_mapped(void *arg)
{
	struct io_uring_params p = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 8, &p);

	(void)arg;
	if (fd < 0)
		return 77;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING) ==
	    MAP_FAILED)
		return 1;
	return close(fd);
}

static int uffd(void *arg)
{
	(void)arg;
	return got((int)syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int perf(void *arg)
{
	struct perf_event_attr a = { .size = sizeof(a), .type = PERF_TYPE_SOFTWARE };

	(void)arg;
	return got((int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}

static int pidfd_outside(void *arg)
{
	(void)arg;
	return got(pidfd_open(getppid(), 0));
}

/* A namespace of the test process, to go back to. */
static int home(const char *kind)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", getppid(), kind);
	return open(path, O_RDONLY);
}

static int space_outside(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWUTS) < 0)
		return 77;
	int fd = open("/proc/self/ns/uts", O_RDONLY), ours = home("uts");

	/* back to where haul is, with the foreign one open */
	if (fd < 0 || ours < 0 || setns(ours, CLONE_NEWUTS) < 0)
		return 77;
	return close(ours);
}

/* ---- pipes ---- */

static int ended_pipe(void *arg)
{
	int p[2];

	(void)arg;
	return pipe(p) < 0 || close(p[1]) < 0;
}

static void pipes(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	t_case_fd("reads a pipe of ours", p[0], "pipe-outside", SEV_BLOCKER);
	t_case_fd("writes a pipe of ours", p[1], "pipe-outside", SEV_BLOCKER);
	close(p[1]);
	t_case_fd("a pipe that has ended", p[0], NULL, SEV_INFO);
	close(p[0]);
	t_case("its own ended pipe", ended_pipe, NULL, NULL, SEV_INFO);
}

/* 3 is the read end that we were given; /proc opens the other side of it. */
static int both_ends(void *arg)
{
	(void)arg;
	return got(open("/proc/self/fd/3", O_WRONLY));
}

static void shared_pipe(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	t_keep = p[0];
	t_case("both ends, and we hold one too", both_ends, NULL, "pipe-shared", SEV_WARNING);
	t_keep = -1;
	close(p[0]);
	close(p[1]);
}

static void fifo(void)
{
	unlink(FILE_PATH);
	if (mkfifo(FILE_PATH, 0600) < 0)
		return;
	int fd = open(FILE_PATH, O_RDWR | O_CLOEXEC), half = open(FILE_PATH, O_RDONLY | O_CLOEXEC);

	t_case_fd("reads a fifo that we write", half, "pipe-outside", SEV_BLOCKER);
	t_case_fd("has both sides of a fifo", fd, NULL, SEV_INFO);
	close(fd);
	close(half);
	unlink(FILE_PATH);
}

/* ---- terminals and devices ---- */

static int terminal(void *arg)
{
	int m, s;

	(void)arg;
	return openpty(&m, &s, NULL, NULL, NULL) < 0 ? 77 : 0;
}

/* A process outside the tree has the master. */
static void slave_only(void)
{
	int m, s;

	if (openpty(&m, &s, NULL, NULL, NULL) < 0)
		return;
	t_case_fd("terminal, one end", s, "terminal", SEV_BLOCKER);
	close(m);
	close(s);
}

static int device(void *arg)
{
	(void)arg;
	if (got(open("/dev/net/tun", O_RDWR)) == 0 || got(open("/dev/fuse", O_RDWR)) == 0)
		return 0;
	unlink(FILE_PATH);
	if (mknod(FILE_PATH, S_IFCHR | 0600, makedev(10, 229)) < 0)
		return 77;
	int fd = open(FILE_PATH, O_PATH);

	return got(fd);
}

/* ---- files ---- */

static int deleted(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)arg;
	return fd < 0 || write(fd, "x", 1) != 1 || unlink(FILE_PATH) < 0;
}

static int unnamed(void *arg)
{
	(void)arg;
	return got(open("/var/tmp", O_TMPFILE | O_RDWR, 0600));
}

static int deleted_large(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);

	return fd < 0 || unlink(FILE_PATH) < 0 ||
	                       fallocate(fd, 0, 0, (off_t)(intptr_t)arg << 20) < 0
	               ? 77
	               : 0;
}

static int deleted_link(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)arg;
	unlink(FILE_PATH "2");
	return fd < 0 || link(FILE_PATH, FILE_PATH "2") < 0 || unlink(FILE_PATH) < 0;
}

static int tmpfs(void *arg)
{
	(void)arg;
	return got(open("/dev/shm/t-inspect", O_RDWR | O_CREAT, 0600));
}

static int proc_outside(void *arg)
{
	(void)arg;
	return got(open("/proc/1/status", O_RDONLY));
}

static int proc_thread(void *arg)
{
	char path[64];

	(void)arg;
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", gettid());
	return got(open(path, O_RDONLY));
}

static int packets(void *arg)
{
	int ends[2];

	(void)arg;
	return pipe2(ends, O_DIRECT);
}

/* A descriptor from a mount that went away with another mount namespace. */
static int stray(void *arg)
{
	int back = home("mnt");

	(void)arg;
	if (unshare(CLONE_NEWNS) < 0)
		return 77;
	int fd = open("/etc/passwd", O_RDONLY);

	if (fd < 0 || setns(back, CLONE_NEWNS) < 0 || chdir("/") < 0)
		return 77;
	return close(back);
}

static void files(void)
{
	t_case("deleted file", deleted, NULL, "deleted-file", SEV_INFO);
	t_case("file that never had a name", unnamed, NULL, "o-tmpfile", SEV_WARNING);
	t_case("large deleted file", deleted_large, (void *)65, "deleted-files", SEV_WARNING);
	t_case("very large deleted file", deleted_large, (void *)1025, "deleted-large",
	       SEV_BLOCKER);
	t_case("one name of two deleted", deleted_link, NULL, NULL, SEV_INFO);
	unlink(FILE_PATH "2");
	t_case("file of a tmpfs", tmpfs, NULL, NULL, SEV_INFO);
	unlink("/dev/shm/t-inspect");
	t_case("/proc of another", proc_outside, NULL, "proc-fd", SEV_BLOCKER);
	t_case("/proc of a thread of its own", proc_thread, NULL, "proc-fd", SEV_BLOCKER);
	t_case("pipe of packets", packets, NULL, "pipe-packets", SEV_BLOCKER);
	t_case("stray descriptor", stray, NULL, "stray-fd", SEV_BLOCKER);
}

int main(void)
{
	if (t_need_root())
		return 77;
	t_case("nothing special", NULL, NULL, NULL, SEV_INFO);
	t_case("harmless kinds", harmless, NULL, NULL, SEV_INFO);
	t_case("io_uring", io_uring, NULL, "io-uring", SEV_BLOCKER);
	t_case("io_uring, mapped only", io_uring_mapped, NULL, "io-uring", SEV_BLOCKER);
	t_case("userfaultfd", uffd, NULL, "userfaultfd", SEV_BLOCKER);
	t_case("perf event", perf, NULL, "perf", SEV_BLOCKER);
	t_case("pidfd of another", pidfd_outside, NULL, "pidfd", SEV_BLOCKER);
	t_case("foreign namespace", space_outside, NULL, "unknown-fd", SEV_BLOCKER);
	t_case("terminal, both ends", terminal, NULL, "terminal-moves", SEV_INFO);
	slave_only();
	t_case("device", device, NULL, "device", SEV_BLOCKER);
	unlink(FILE_PATH);
	pipes();
	shared_pipe();
	fifo();
	files();
	return checks_end();
}
