// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-tracker-others.c - the tracker beside others: a second tracker, memory that another process has
 * registered, shares or fills. No written page is taken from who has to see it, none is missed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/tracker/priv.h"
#include "tests/checks.h"

#define PAGES 12000 /* every second one is more regions than one scan returns */
#define PAGE  7 /* the one that is written */
#define HOLE  (PAGES - 100) /* where other memory may come */

static enum tracker_kind kind;

/* ---- a target that does as it is told ---- */

enum { WORD, CHILD, VFORK };
static volatile int *told; /* a letter, 0 when it is done; its child's pid; see sharing() */
static uint8_t *area;

static void wait_told(int what)
{
	uint64_t limit = deadline_in_ms(5000);

	while (*told != what && now_us() < limit)
		usleep(100);
	CHECK(*told == what, "%c is not done", *told);
}

static void tell(char what)
{
	*told = what;
	wait_told(0);
}

static pid_t child(void)
{
	pid_t pid = fork();

	while (pid == 0)
		pause();
	return pid;
}

static void *obey(void *arg)
{
	const struct rlimit few = { 32, 32 };

	madvise(area, PAGES * 4096, MADV_NOHUGEPAGE);
	memset(area, 2, PAGES * 4096);
	for (;;) {
		switch (*told) {
		case 'w':
			area[PAGE * 4096]++;
			break;
		case 's':
			for (size_t i = 0; i < HOLE; i += 2)
				area[i * 4096]++;
			break;
		case 'd':
			setrlimit(RLIMIT_NOFILE, &few);
			while (dup(0) >= 0)
				;
			break;
		case 'c':
			close((int)few.rlim_cur - 1);
			break;
		case 'm':
			mmap(area + HOLE * 4096, 50 * 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		case 'f':
			told[CHILD] = child();
		}
		*told = 0;
		usleep(100);
	}
	return arg;
}

static void obedient(void)
{
	obey(NULL);
}

/* Obeys in a thread, and has a child that shares its memory until it is told to exec. */
static void sharing(void)
{
	pthread_t t;

	pthread_create(&t, NULL, obey, NULL);
	while (!told[VFORK])
		usleep(100);
	if (vfork() == 0) {
		told[CHILD] = getpid();
		while (told[VFORK] == 1)
			usleep(100);
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(1);
	}
	for (;;)
		pause();
}

static pid_t target(void (*run)(void))
{
	*told = '-';
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		run();
	wait_told(0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- a tracker ---- */

struct seen {
	bool again; /* write it when it is seen */
	unsigned int times, flags; /* of the page that is written */
	pid_t pid;
};

static int see(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
               unsigned int flags)
{
	struct seen *s = arg;
	uint64_t at = (uintptr_t)area + PAGE * 4096;

	(void)vma;
	if (at >= vaddr && at < vaddr + pages * 4096) {
		s->times++;
		s->flags = flags;
		s->pid = pid;
		if (s->again)
			tell('w');
		s->again = false;
	}
	return 0;
}

static struct tracker *tracker(pid_t pid)
{
	struct err e = ERR_INIT;
	struct tracker *t = NULL;

	CHECK(tracker_new(&t, pid, kind, &e) == 0, "%s", e.msg);
	return t;
}

static struct seen round_with(struct tracker *t, bool again, struct tracker_stats *st)
{
	struct seen s = { .again = again };
	struct err e = ERR_INIT;

	CHECK(tracker_round(t, see, &s, st, &e) == 0, "%s", e.msg);
	return s;
}

static struct seen round_of(struct tracker *t, struct tracker_stats *st)
{
	return round_with(t, false, st);
}

static struct seen last_look(struct tracker *t, pid_t pid)
{
	struct seen s = { 0 };
	struct tracker_stats st;
	struct err e = ERR_INIT;

	kill(pid, SIGSTOP);
	usleep(20000);
	CHECK(tracker_final(t, see, &s, &st, &e) == 0, "%s", e.msg);
	return s;
}

/* Is the tree of @pid refused, by the name of @who? */
static bool refused(pid_t pid, pid_t who)
{
	AUTO(tracker) struct tracker *t = tracker(pid);
	struct err e = ERR_INIT;
	char name[32];

	snprintf(name, sizeof(name), "(pid %d)", who);
	return tracker_own(t, &e) == -EBUSY && strstr(e.msg, name) && e.fix[0];
}

static bool granted(pid_t pid)
{
	AUTO(tracker) struct tracker *t = tracker(pid);
	struct err e = ERR_INIT;

	return tracker_own(t, &e) == 0;
}

/* ---- two trackers ---- */

static void two(void)
{
	struct tracker_stats st;
	struct err e = ERR_INIT;

	checks_title = "two trackers";
	pid_t pid = target(obedient);
	AUTO(tracker) struct tracker *first = tracker(pid), *second = tracker(pid);

	CHECK(tracker_own(first, &e) == 0, "%s", e.msg);
	CHECK(refused(pid, getpid()), "the second");
	CHECK(round_of(first, &st).times == 1 && st.procs == 1, "%u", st.procs);
	tell('w');
	CHECK(round_of(second, &st).times == 0 && st.procs_untracked == 1, "%u", st.procs);
	CHECK(round_of(first, &st).times == 1, "the page was taken");
	tell('w');
	round_of(second, &st);
	CHECK(last_look(first, pid).flags & TRACKER_DIRTY, "the page was taken");
	CHECK(last_look(second, pid).flags & TRACKER_DIRTY, "the second knows nothing");
	kill(pid, SIGCONT);
	tracker_release(first);
	CHECK(round_of(second, &st).times == 1 && st.procs == 1, "released: %u", st.procs);
	end(pid);
}

static void trees(void)
{
	struct tracker_stats st;
	struct err e = ERR_INIT;

	checks_title = "overlapping trees";
	pid_t pid = target(obedient);
	AUTO(tracker) struct tracker *t = tracker(pid);

	CHECK(tracker_own(t, &e) == 0, "%s", e.msg);
	tell('f');
	CHECK(refused(told[CHILD], getpid()), "a child that was born later");
	round_of(t, &st);
	CHECK(st.procs == 2, "%u tracked", st.procs);
	tracker_release(t);
	AUTO(tracker) struct tracker *child = tracker(told[CHILD]);

	CHECK(tracker_own(child, &e) == 0, "%s", e.msg);
	CHECK(refused(pid, getpid()), "a tree with a child that is tracked");
	round_of(t, &st);
	CHECK(st.procs == 1 && st.procs_untracked == 1, "%u tracked", st.procs);
	kill(told[CHILD], SIGKILL);
	end(pid);
}

static void owner_dies(void)
{
	checks_title = "the owner dies";
	pid_t pid = target(obedient), owner = fork();

	if (owner == 0) {
		struct tracker *t = tracker(pid);
		struct err e = ERR_INIT;
		struct tracker_stats st;

		if (tracker_own(t, &e) == 0)
			round_of(t, &st);
		told[CHILD] = -1;
		for (;;)
			pause();
	}
	while (told[CHILD] != -1)
		usleep(100);
	CHECK(refused(pid, owner), "while it lives");
	end(owner);
	CHECK(granted(pid), "nothing is left of it");
	end(pid);
}

/* ---- memory that another tool has registered ---- */

static int registered_by_us(pid_t pid)
{
	struct err e = ERR_INIT;
	int fd = -1;
	struct uffdio_register reg = { .range = { (uintptr_t)area, PAGES * 4096 },
		                       .mode = UFFDIO_REGISTER_MODE_WP };

	CHECK(inject_uffd(pid, &fd, &e) == 0, "%s", e.msg);
	CHECK(scan_uffd_api(fd) == 0 && ioctl(fd, UFFDIO_REGISTER, &reg) == 0, "errno %d", errno);
	return fd;
}

/* How many pages were written since the last time. */
static long written(pid_t pid)
{
	char path[40];
	struct page_region v[PAGES];
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)area,
		.end = (uintptr_t)area + PAGES * 4096,
		.vec = (uintptr_t)v,
		.vec_len = PAGES,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	AUTO(fd) int map = open(path, O_RDONLY | O_CLOEXEC);

	return ioctl(map, PAGEMAP_SCAN, &a);
}

static void foreign(void)
{
	struct tracker_stats st;

	checks_title = "memory that another tool has registered";
	pid_t pid = target(obedient);
	AUTO(fd) int fd = registered_by_us(pid);
	AUTO(tracker) struct tracker *t = tracker(pid);

	CHECK(written(pid) == 1, "one region of written pages");
	for (int i = 0; i < 3; i++) {
		tell('w');
		CHECK(round_of(t, &st).times == 0 && st.procs == 1 && st.vmas_untracked == 1,
		      "%u mappings not tracked", st.vmas_untracked);
		CHECK(written(pid) == 1, "the tool's page was taken");
	}
	CHECK(last_look(t, pid).flags & TRACKER_DIRTY, "it was never reported");
	kill(pid, SIGCONT);
	close(steal_fd(&fd));
	CHECK(round_of(t, &st).times == 1 && st.vmas_untracked == 0, "when the tool has ended");
	tell('w');
	CHECK(round_of(t, &st).times == 1 && round_of(t, &st).times == 0, "and later");
	end(pid);
}

/* ---- memory that a child shares until it execs ---- */

static void shared(void)
{
	struct tracker_stats st;
	struct seen s;

	checks_title = "a child after vfork";
	told[CHILD] = told[VFORK] = 0;
	pid_t pid = target(sharing);
	AUTO(tracker) struct tracker *t = tracker(pid);

	CHECK(round_of(t, &st).times == 1 && st.procs == 1, "%u", st.procs);
	tell('w');
	told[VFORK] = 1;
	while (!told[CHILD])
		usleep(100);
	s = round_with(t, true, &st);
	CHECK(s.times == 1 && s.pid == pid, "reported %u times, of %d", s.times, s.pid);
	s = round_of(t, &st);
	CHECK(s.times == 1 && s.pid == pid && st.procs_untracked == 1, "the child took it");
	told[VFORK] = 2;
	usleep(100000);
	round_of(t, &st);
	CHECK(st.procs == 2, "%u tracked after exec", st.procs);
	kill(told[CHILD], SIGKILL);
	end(pid);
}

/* ---- a process that cannot be tracked at first ---- */

static void later(void)
{
	struct tracker_stats st;

	checks_title = "no descriptor at first";
	pid_t pid = target(obedient);
	AUTO(tracker) struct tracker *t = tracker(pid);

	tell('d');
	CHECK(round_of(t, &st).times == 0 && st.procs_untracked == 1, "%u tracked", st.procs);
	tell('c');
	CHECK(round_of(t, &st).times == 1 && st.procs == 1, "never again");
	end(pid);
}

/* ---- a mapping that is replaced in part, in mid-round ---- */

struct counts {
	bool told;
	unsigned int n[PAGES], twice;
};

static int count(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                 unsigned int flags)
{
	struct counts *c = arg;

	(void)pid, (void)vma, (void)flags;
	for (; pages > 0; vaddr += 4096, pages--) {
		uint64_t i = (vaddr - (uintptr_t)area) / 4096;

		if (vaddr < (uintptr_t)area || i >= PAGES)
			continue;
		c->twice += c->n[i]++ > 0;
		if (!c->told)
			tell('m');
		c->told = true;
	}
	return 0;
}

static void replaced(void)
{
	static struct counts c;
	struct tracker_stats st;
	struct err e = ERR_INIT;

	checks_title = "replaced in mid-round";
	pid_t pid = target(obedient);
	AUTO(tracker) struct tracker *t = tracker(pid);

	round_of(t, &st);
	tell('s');
	CHECK(tracker_round(t, count, &c, &st, &e) == 0, "%s", e.msg);
	CHECK(c.told && c.twice == 0, "%u pages were reported twice", c.twice);
	for (size_t i = 0; i < HOLE; i += 2)
		CHECK(c.n[i] == 1, "page %zu", i);
	end(pid);
}

static void all(void)
{
	printf("%s\n", tracker_kind_name(kind));
	two();
	trees();
	owner_dies();
	if (kind == TRACKER_WP_ASYNC) {
		foreign();
		shared();
		later();
		replaced();
	}
}

int main(void)
{
	told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	setbuf(stdout, NULL);
	alarm(120);
	if (geteuid() != 0 || tracker_best() == TRACKER_NONE) {
		printf("skipped: needs root and a tracker\n");
		return 77;
	}
	for (kind = TRACKER_WP_ASYNC; kind <= TRACKER_SOFT_DIRTY; kind++) {
		struct err e = ERR_INIT;

		if (tracker_probe(kind, &e) < 0)
			printf("%s: not on this kernel: %s\n", tracker_kind_name(kind), e.msg);
		else
			all();
	}
	return checks_end();
}
