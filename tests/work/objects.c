/* SPDX-License-Identifier: GPL-2.0-or-later */
/* objects.c - one piece of shared memory that several processes write in every way there is. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAP_US     1000
#define PROCS_MAX  64
#define HELD_S     60
#define TAIL_PAGES 64UL /* the first process alone cuts them off and lets them grow again */
#define SKIP       1000U /* generations that a process leaves to one that it forks */

/* Shared, too. */
struct control {
	atomic_uint hold; /* all wait while this differs from 0 */
	atomic_uint held[PROCS_MAX];
	atomic_ullong writes;
	atomic_int failed;
	char why[200];
};

enum kind { ANON, MEMFD, SYSV };

static long mib = 16, rate = 3000, procs = 4;
static const char *kind_word = "anon";
static bool calls, holes, passing, forks, sizes;
static const struct work_opt opts[] = {
	{ "--mib", "size in MiB (16)", &mib, NULL, NULL },
	{ "--rate", "page writes per second and process (3000)", &rate, NULL, NULL },
	{ "--procs", "processes besides the first (4)", &procs, NULL, NULL },
	{ "--kind", "anon, memfd, sysv (anon)", NULL, &kind_word, NULL },
	{ "--calls", "also write by pwrite(2) (memfd)", NULL, NULL, &calls },
	{ "--holes", "also make holes, and read them", NULL, NULL, &holes },
	{ "--passing", "also write by mappings that last for one write", NULL, NULL, &passing },
	{ "--forks", "also write in processes that last for one write", NULL, NULL, &forks },
	{ "--sizes", "also make it smaller and larger (memfd)", NULL, NULL, &sizes },
	{ 0 },
};

static enum kind kind;
static int fd = -1, shmid = -1;
static size_t pages;
static struct control *ctl;
static struct area area, tail; /* tail: behind the first one in the same object */
static unsigned me;
static pid_t child[PROCS_MAX];
static struct rnd rnd;
static int alive[2]; /* a pipe that ends with the first process */

static void give_up(const char *what)
{
	if (!atomic_exchange(&ctl->failed, 1))
		snprintf(ctl->why, sizeof(ctl->why), "process %u: %s: %s", me, what,
		         strerror(errno));
}

static void *share(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		work_die("mmap: %s", strerror(errno));
	return p;
}

static size_t whole_bytes(void)
{
	return (pages + (sizes ? TAIL_PAGES : 0)) * PAGE_BYTES;
}

static void *make(void)
{
	void *p;

	switch (kind) {
	case MEMFD:
		fd = memfd_create("haul-objects", MFD_ALLOW_SEALING);
		if (fd < 0 || ftruncate(fd, (off_t)whole_bytes()) < 0)
			work_die("memfd: %s", strerror(errno));
		p = mmap(NULL, whole_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		break;
	case SYSV:
		shmid = shmget(IPC_PRIVATE, whole_bytes(), IPC_CREAT | 0600);
		p = shmid < 0 ? MAP_FAILED : shmat(shmid, NULL, 0);
		break;
	default:
		p = share(whole_bytes());
	}
	if (p == MAP_FAILED || p == (void *)-1)
		work_die("no shared memory: %s", strerror(errno));
	return p;
}

/* At another address in each process; of memory files two mappings, the second half first. */
static void move_mapping(void)
{
	size_t bytes = whole_bytes();
	char *at = (char *)0x100000000000 + (size_t)me * (bytes + (64UL << 20));
	void *p = MAP_FAILED;

	if (kind == ANON)
		p = mremap(area.base, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at);
	if (kind == MEMFD)
		p = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (kind == SYSV)
		p = shmat(shmid, at, 0);
	if (p != at)
		work_die("mapping of process %u: %s", me, strerror(errno));
	if (kind == MEMFD)
		munmap(area.base, bytes);
	if (kind == SYSV)
		shmdt(area.base);
	area.base = (unsigned char *)at;
	tail.base = area.base + pages * PAGE_BYTES;
}

/* ---- ways to write ---- */

static void write_call(size_t page)
{
	uint64_t words[PAGE_WORDS];

	area.want[page] = (uint64_t)area.owner << 48 | (++area.serial & 0xffffffffffffULL);
	area_fill(&area, page, words);
	if (pwrite(fd, words, PAGE_BYTES, (off_t)(page * PAGE_BYTES)) != (ssize_t)PAGE_BYTES)
		give_up("pwrite");
}

/* Read at once: the page is there again, and zero. */
static void make_hole(size_t page)
{
	void *at = area.base + page * PAGE_BYTES;
	int r = fd >= 0 && page % 2 ? fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                                        (off_t)(page * PAGE_BYTES), PAGE_BYTES)
	                            : madvise(at, PAGE_BYTES, MADV_REMOVE);

	area.want[page] = 0;
	if (r < 0)
		give_up("hole");
	if (page % 3 && *(volatile uint64_t *)at)
		give_up("a hole is not empty");
}

/* Read first: the page is then mapped for writing, too, unless its mapping is registered with a tracker. */
static void write_passing(size_t page)
{
	unsigned char *base = area.base;
	size_t bytes = pages * PAGE_BYTES;
	void *p = kind == MEMFD  ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
	          : kind == SYSV ? shmat(shmid, NULL, 0)
	                         : mremap(base, 0, bytes, MREMAP_MAYMOVE);

	if (p == MAP_FAILED) {
		give_up("a mapping in passing");
		return;
	}
	area.base = p;
	area_write(&area, page);
	area.base = base;
	if (kind == SYSV)
		shmdt(p);
	else
		munmap(p, bytes);
}

/* A verification and a move interrupt the wait. */
static bool has_ended(pid_t pid)
{
	int status;
	pid_t r;

	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	return r == pid && status == 0;
}

static void write_forked(size_t page)
{
	pid_t pid = fork();

	if (pid == 0) {
		area_write(&area, page);
		_exit(work_failed());
	}
	area.serial += SKIP;
	if (pid < 0 || !has_ended(pid))
		give_up("a process in passing");
}

static void change_size(void)
{
	if (ftruncate(fd, (off_t)(pages * PAGE_BYTES)) < 0)
		give_up("make smaller");
	memset(tail.want, 0, TAIL_PAGES * sizeof(*tail.want));
	if (ftruncate(fd, (off_t)whole_bytes()) < 0)
		give_up("make larger");
}

static void write_one(void)
{
	/* pages are dealt out to the processes; each sixteenth stays a hole */
	size_t n = (size_t)procs + 1, page = rnd_below(&rnd, pages / n) * n + me;
	unsigned dice = (unsigned)rnd_below(&rnd, 1000);

	if (page / n % 16 == 15)
		return;
	if (calls && dice < 300)
		write_call(page);
	else if (holes && dice < 350)
		make_hole(page);
	else if (passing && dice < 380)
		write_passing(page);
	else if (forks && dice < 383)
		write_forked(page);
	else if (sizes && !me && dice < 384)
		change_size();
	else if (sizes && !me && dice < 484)
		area_write(&tail, rnd_below(&rnd, TAIL_PAGES));
	else
		area_write(&area, page);
	atomic_fetch_add(&ctl->writes, 1);
	if (work_failed() && !atomic_exchange(&ctl->failed, 1))
		snprintf(ctl->why, sizeof(ctl->why), "process %u: %s", me, work_reason());
}

/* ---- the processes ---- */

static void run_child(void)
{
	struct pollfd p = { .fd = alive[0], .events = POLLIN };
	struct pace pace;

	close(alive[1]);
	pace_init(&pace, rate);
	while (poll(&p, 1, 0) <= 0) { /* a call that the move interrupts may fail */
		unsigned due = pace_due(&pace), hold = atomic_load(&ctl->hold);

		atomic_store(&ctl->held[me], hold);
		while (!hold && due-- && !atomic_load(&ctl->failed))
			write_one();
		work_nap_us(NAP_US);
	}
}

static void hold_all(struct report *r)
{
	int64_t until = work_now_us() + HELD_S * 1000000L;
	unsigned n = work_verify_number() + 1;

	atomic_store(&ctl->hold, n);
	for (unsigned i = 1; i <= (unsigned)procs; i++)
		while (atomic_load(&ctl->held[i]) != n) {
			if (work_now_us() > until) {
				rep_error(r, "process %u does not wait", i);
				return;
			}
			work_nap_us(NAP_US);
		}
}

/* What a descriptor reads is what a mapping shows. */
static void check_file(struct report *r)
{
	uint64_t words[PAGE_WORDS];

	for (size_t i = 0; i < pages; i += 16)
		if (pread(fd, words, PAGE_BYTES, (off_t)(i * PAGE_BYTES)) != (ssize_t)PAGE_BYTES)
			rep_error(r, "cannot read: %s", strerror(errno));
		else
			area_check_at(&area, i, words, r);
}

static void verify(struct report *r)
{
	hold_all(r);
	if (work_sabotage_due())
		area_sabotage(&area, 0, work_sabotage_due());
	area_verify(&area, r);
	if (sizes)
		area_verify(&tail, r);
	if (fd >= 0)
		check_file(r);
	if (atomic_load(&ctl->failed))
		rep_error(r, "%s", ctl->why);
	r->ops += atomic_load(&ctl->writes);
	atomic_store(&ctl->hold, !work_may_write());
}

static void start_all(void)
{
	if (pipe(alive))
		work_die("pipe: %s", strerror(errno));
	for (unsigned i = 1; i <= (unsigned)procs; i++) {
		child[i] = fork();
		if (child[i] < 0)
			work_die("fork: %s", strerror(errno));
		if (child[i])
			continue;
		me = i;
		work_child();
		rnd.state = area.owner = (uint16_t)i;
		move_mapping();
		run_child();
		_exit(0);
	}
	close(alive[0]);
}

static void set_up(void)
{
	size_t want;

	kind = !strcmp(kind_word, "memfd") ? MEMFD : !strcmp(kind_word, "sysv") ? SYSV : ANON;
	if (procs < 1 || procs >= PROCS_MAX || mib < 1 || ((calls || sizes) && kind != MEMFD))
		work_die("options that do not fit");
	pages = (size_t)mib * MIB_PAGES;
	ctl = share(sizeof(*ctl));
	area_init(&area, make(), pages, 7, 0);
	area_init(&tail, area.base + pages * PAGE_BYTES, TAIL_PAGES, 8, 0);
	want = pages * sizeof(*area.want);
	area.want = share(want);
	for (size_t i = 0; i < pages; i++)
		if (i / ((size_t)procs + 1) % 16 != 15)
			area_stamp(&area, i);
	area.serial += SKIP;
}

int main(int argc, char **argv)
{
	struct pace pace;

	work_start(argc, argv, opts);
	set_up();
	start_all();
	work_ready();
	pace_init(&pace, rate);
	while (work_poll(verify)) {
		unsigned due = pace_due(&pace);

		atomic_store(&ctl->hold, !work_may_write());
		while (due-- && work_may_write() && !atomic_load(&ctl->failed))
			write_one();
		for (unsigned i = 1; i <= (unsigned)procs; i++)
			if (waitpid(child[i], NULL, WNOHANG) > 0)
				work_fail("process %u has ended", i);
		if (atomic_load(&ctl->failed))
			work_fail("%s", ctl->why);
		work_nap_us(NAP_US);
	}
	close(alive[1]);
	for (unsigned i = 1; i <= (unsigned)procs; i++)
		waitpid(child[i], NULL, 0);
	if (shmid >= 0)
		shmctl(shmid, IPC_RMID, NULL);
	return 0;
}
