// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-tracker-direct.c - rounds while a read past the page cache (O_DIRECT) is under way: what it
 * brings is not missed, though the page table does not show it. A file system in this test (FUSE)
 * answers as late as it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"
#include "tests/checks.h"

#define PAGES 16
#define PAGE  4 /* the one that is read into */
#define FILL  0x42

static enum tracker_kind kind;
static char dir[] = "/tmp/t-tracker-direct.XXXXXX";
static uint8_t *area;

/* Of all processes here. */
static volatile struct {
	int late_ms, state, got;
} * shared;

/* ---- the file system: one file, whose bytes come late ---- */

static void answer(int fd, uint64_t unique, int error, const void *data, size_t n)
{
	static char buf[1 << 17];
	struct fuse_out_header o = { (uint32_t)(sizeof(o) + n), error, unique };

	memcpy(buf, &o, sizeof(o));
	if (n)
		memcpy(buf + sizeof(o), data, n);
	if (write(fd, buf, sizeof(o) + n) < 0)
		perror("fuse");
}

static struct fuse_attr attr_of(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node,
		.nlink = 1,
		.blksize = 4096,
		.size = node == 1 ? 0 : 1 << 20,
		.mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0644,
	};
}

static void serve_one(int fd, const struct fuse_in_header *h)
{
	static char data[65536];
	struct fuse_init_out init = { .major = 7, .minor = 31, .max_write = sizeof(data) };
	struct fuse_entry_out entry = { .nodeid = 2, .attr = attr_of(2) };
	struct fuse_attr_out attr = { .attr = attr_of(h->nodeid) };
	struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };

	switch (h->opcode) {
	case FUSE_INIT:
		return answer(fd, h->unique, 0, &init, sizeof(init));
	case FUSE_LOOKUP:
		return answer(fd, h->unique, 0, &entry, sizeof(entry));
	case FUSE_GETATTR:
		return answer(fd, h->unique, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
		return answer(fd, h->unique, 0, &opened, sizeof(opened));
	case FUSE_READ:
		memset(data, FILL, sizeof(data));
		usleep((useconds_t)shared->late_ms * 1000);
		return answer(fd, h->unique, 0, data, 4096);
	case FUSE_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		answer(fd, h->unique, -ENOSYS, NULL, 0);
	}
}

static pid_t serve(int fd)
{
	static char buf[1 << 18];
	pid_t pid = fork();

	while (pid == 0) {
		if (read(fd, buf, sizeof(buf)) <= 0)
			_exit(0);
		serve_one(fd, (const struct fuse_in_header *)buf);
	}
	return pid;
}

static bool mounted(pid_t *server)
{
	AUTO(fd) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char o[96];

	snprintf(o, sizeof(o), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || !mkdtemp(dir) || unshare(CLONE_NEWNS) < 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("t-tracker-direct", dir, "fuse", 0, o) < 0)
		return false;
	*server = serve(fd);
	return true;
}

/* ---- the target ---- */

enum { READY = 1, READ, READING, DONE };

static pid_t target(int late_ms, bool aio, int flags)
{
	shared->state = 0;
	shared->late_ms = late_ms;
	pid_t pid = fork();

	if (pid == 0) {
		aio_context_t ctx = 0;
		char path[64];

		memset(area, 1, PAGES * 4096);
		snprintf(path, sizeof(path), "%s/file", dir);
		int fd = open(path, O_RDONLY | flags);

		if (fd < 0 || (aio && syscall(SYS_io_setup, 1, &ctx) < 0))
			_exit(1);
		shared->state = READY;
		while (shared->state != READ)
			usleep(1000);
		shared->state = READING;
		shared->got = (int)read(fd, area + PAGE * 4096, 4096);
		if (aio)
			syscall(SYS_io_destroy, ctx);
		shared->state = DONE;
		for (;;)
			pause();
	}
	for (int i = 0; i < 5000 && shared->state != READY; i++)
		usleep(1000);
	return pid;
}

static void until(int state)
{
	for (int i = 0; i < 5000 && shared->state != state; i++)
		usleep(1000);
	CHECK(shared->state == state, "%d", shared->state);
}

/* ---- rounds ---- */

struct seen {
	int times, content;
	bool dirty;
	int mem;
};

static int see(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
               unsigned int flags)
{
	struct seen *s = arg;
	uint64_t at = (uintptr_t)area + PAGE * 4096;

	(void)pid;
	(void)vma;
	if (at >= vaddr && at < vaddr + pages * 4096) {
		s->times++;
		s->dirty = flags & TRACKER_DIRTY;
	}
	return 0;
}

/* The page as it is after the round: what would be sent. */
static struct seen round_of(struct tracker *t, pid_t pid, struct tracker_stats *st)
{
	struct seen s = { 0 };
	struct err e = ERR_INIT;
	uint8_t page[4096] = { 0 };
	AUTO(fd) int mem = mem_open(pid, &e);

	CHECK(tracker_round(t, see, &s, st, &e) == 0, "%s", e.msg);
	CHECK(mem_read(mem, pid, (uintptr_t)area + PAGE * 4096, page, 1) == 1, "mem");
	s.content = page[0];
	return s;
}

static struct seen last_look(struct tracker *t, pid_t pid)
{
	struct seen s = { 0 };
	struct tracker_stats st;
	struct err e = ERR_INIT;

	kill(pid, SIGSTOP);
	usleep(20000);
	CHECK(tracker_final(t, see, &s, &st, &e) == 0, "%s", e.msg);
	kill(pid, SIGCONT);
	return s;
}

/* A read that takes @late_ms, with a round in the middle. */
static void read_in_round(int late_ms, bool aio, int flags)
{
	struct err e = ERR_INIT;
	struct tracker_stats st;
	AUTO(tracker) struct tracker *t = NULL;
	pid_t pid = target(late_ms, aio, flags);

	CHECK(tracker_new(&t, pid, kind, &e) == 0, "%s", e.msg);
	struct seen first = round_of(t, pid, &st);

	CHECK(first.times == !aio && st.procs == !aio, "%d times, %u tracked", first.times,
	      st.procs);
	shared->state = READ;
	until(READING);
	usleep(50000);
	struct seen s = round_of(t, pid, &st);

	printf("a read of %d ms%s: %s in the round, %s\n", late_ms, aio ? ", AIO" : "",
	       s.times ? "reported" : "not reported", s.content == FILL ? "new" : "old");
	until(DONE);
	CHECK(shared->got == 4096, "%d", shared->got);
	CHECK((s.times && s.content == FILL) || last_look(t, pid).dirty, "it is stale");
	s = round_of(t, pid, &st);
	CHECK(st.procs == 1, "not tracked when it is over");
	CHECK(!last_look(t, pid).dirty, "it is clean now");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	struct err e = ERR_INIT;
	pid_t server = 0;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	setbuf(stdout, NULL);
	alarm(120);
	if (geteuid() != 0 || tracker_best() == TRACKER_NONE || !mounted(&server)) {
		printf("skipped: needs root, a tracker and FUSE\n");
		rmdir(dir);
		return 77;
	}
	for (kind = TRACKER_WP_ASYNC; kind <= TRACKER_SOFT_DIRTY; kind++) {
		if (tracker_probe(kind, &e) < 0) {
			printf("%s: not on this kernel: %s\n", tracker_kind_name(kind), e.msg);
			continue;
		}
		printf("%s\n", tracker_kind_name(kind));
		read_in_round(250, false, O_DIRECT);
		read_in_round(1500, false, O_DIRECT);
		read_in_round(250, true, O_DIRECT);
		/* the server says so, not the program */
		read_in_round(250, false, 0);
	}
	umount2(dir, MNT_DETACH);
	kill(server, SIGKILL);
	rmdir(dir);
	return checks_end();
}
