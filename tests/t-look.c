// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-look.c - the last scan of a stopped process, page by page, against /proc/PID/pagemap and
 * against what the process is known to have done to its memory since the last round.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"

#define TABLE  (2u << 20)
#define TABLES 80 /* more than one window of the look */
#define PAGES  (TABLES * 512)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { WRITTEN = 1, GUARD };

static uint8_t *area; /* the same address in both processes */

static uint8_t *page(int table, int i)
{
	return area + (size_t)table * TABLE + (size_t)i * 4096;
}

static void fill(void)
{
	for (int t = 0; t < TABLES; t++)
		if (t < 40 || t >= 60) /* never touched in between */
			memset(page(t, 0), t + 1, TABLE);
}

/* What a program may do between a round and the freeze; pages that it writes go to @dirty. */
static void disturb(uint8_t *dirty)
{
	volatile uint8_t sum = 0;
	int k = 0;

#define WRITE(t, i) (page(t, i)[9] ^= 0x55, dirty[(t)*512 + (i)] = 1)
	WRITE(0, 0);
	WRITE(0, 511);
	for (int i = 0; i < 512; i += 7) /* many in one table */
		WRITE(1, i);
	madvise(page(2, 0), TABLE, MADV_DONTNEED); /* its table goes, too (kernel 6.14) */
	madvise(page(3, 0), TABLE, MADV_DONTNEED);
	WRITE(3, 100); /* and comes again */
	madvise(page(4, 10), 20 * 4096, MADV_DONTNEED);
	madvise(page(5, 0), TABLE, MADV_DONTNEED);
	sum += page(5, 7)[0]; /* a zero page */
	munmap(page(6, 0), 2 * TABLE);
	if (mmap(page(6, 0), 2 * TABLE, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(4);
	WRITE(6, 3);
	if (madvise(page(8, 0), 16 * 4096, MADV_GUARD_INSTALL) == 0) /* kernel 6.13 */
		memset(dirty + 8 * 512, GUARD, 16);
	mprotect(page(9, 0), TABLE, PROT_NONE);
	madvise(page(10, 0), 8 * TABLE, MADV_DONTNEED);
	WRITE(50, 17); /* never touched before */
	WRITE(79, 511);
	for (int t = 30; t < 34; t++)
		for (k = 0; k < 9; k++) /* around what is asked for one by one */
			WRITE(t, k * (t - 28));
	(void)sum;
}

static pid_t start(uint8_t *dirty, int *ask, int *done)
{
	int a[2], d[2];

	if (pipe(a) < 0 || pipe(d) < 0)
		exit(3);
	pid_t pid = fork();

	if (pid == 0) {
		char c = 0;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fill();
		do {
			if (c == 'd')
				disturb(dirty);
			if (write(d[1], "", 1) != 1)
				break;
		} while (read(a[0], &c, 1) == 1);
		_exit(0);
	}
	*ask = a[1];
	*done = d[0];
	return pid;
}

struct seen {
	uint8_t flags[PAGES]; /* TRACKER_*; 0: not told */
	int twice;
};

static int note(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct seen *s = arg;
	uint64_t first = (vaddr - (uintptr_t)area) / 4096;

	(void)pid;
	(void)vma;
	if (vaddr < (uintptr_t)area || first >= PAGES)
		return 0;
	for (uint64_t i = first; i < first + pages && i < PAGES; i++) {
		s->twice += s->flags[i] != 0;
		s->flags[i] = (uint8_t)(flags | TRACKER_PRESENT);
	}
	return 0;
}

/* As the kernel says page by page: there, and not the zero page. */
static int there(int pagemap, uint64_t *v)
{
	size_t bytes = PAGES * sizeof(*v);

	return pread(pagemap, v, bytes, (off_t)((uintptr_t)area / 4096 * 8)) == (ssize_t)bytes ? 0
	                                                                                       : -1;
}

static int compare(const struct seen *s, const uint64_t *map, const uint8_t *dirty, uint64_t zero)
{
	int wrong = 0, clean = 0, present = 0;

	for (int i = 0; i < PAGES; i++) {
		bool guard = dirty[i] == GUARD;
		bool is = (map[i] >> 62) && (map[i] & ((1ULL << 55) - 1)) != zero && !guard;
		bool told = s->flags[i] && !(s->flags[i] & TRACKER_ZERO);
		bool new = i / 512 == 6 || i / 512 == 7; /* mapped anew: all is dirty */

		present += is;
		clean += told && !(s->flags[i] & TRACKER_DIRTY);
		if (is != told ||
		    (told && (dirty[i] == WRITTEN || new) && !(s->flags[i] & TRACKER_DIRTY)))
			if (wrong++ < 10)
				printf("table %d page %d: there %d, told %d, written %d, flags "
				       "%x\n",
				       i / 512, i % 512, is, told, dirty[i], s->flags[i]);
	}
	printf("%d pages, %d clean, %d twice, %d wrong\n", present, clean, s->twice, wrong);
	/* most of it was not written, and the look must know that */
	return wrong || s->twice || clean < present * 9 / 10;
}

static uint64_t zero_frame(void)
{
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile uint8_t c = *p;
	uint64_t v = 0;

	(void)c;
	if (pread(map, &v, 8, (off_t)((uintptr_t)p / 4096 * 8)) != 8 || !(v >> 62))
		exit(3);
	munmap(p, 4096);
	return v & ((1ULL << 55) - 1);
}

static int with(enum tracker_kind kind)
{
	static struct seen first, last;
	static uint64_t map[PAGES];
	uint8_t *dirty = mmap(NULL, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	                      0);
	AUTO(tracker) struct tracker *t = NULL;
	struct tracker_stats st;
	struct err e = ERR_INIT;
	int ask, done;
	char c, path[40];
	pid_t pid = start(dirty, &ask, &done);

	memset(&first, 0, sizeof(first));
	memset(&last, 0, sizeof(last));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	AUTO(fd) int pagemap = open(path, O_RDONLY | O_CLOEXEC);

	if (read(done, &c, 1) != 1 || tracker_new(&t, pid, kind, &e) < 0 ||
	    tracker_round(t, note, &first, &st, &e) < 0 || write(ask, "d", 1) != 1 ||
	    read(done, &c, 1) != 1 || kill(pid, SIGSTOP) < 0 || waitpid(pid, NULL, WUNTRACED) < 0 ||
	    tracker_final(t, note, &last, &st, &e) < 0 || there(pagemap, map) < 0) {
		printf("%s: %s\n", tracker_kind_name(kind), e.msg);
		kill(pid, SIGKILL);
		return 1;
	}
	printf("%s: ", tracker_kind_name(kind));
	int r = compare(&last, map, dirty, zero_frame());

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(dirty, PAGES);
	return r;
}

int main(void)
{
	struct err e = ERR_INIT;
	int r = 0, n = 0;

	setbuf(stdout, NULL);
	area = mmap(NULL, (size_t)(TABLES + 1) * TABLE, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	area += TABLE - (uintptr_t)area % TABLE;
	madvise(area, (size_t)TABLES * TABLE, MADV_NOHUGEPAGE);
	for (int kind = TRACKER_WP_ASYNC; kind <= TRACKER_SOFT_DIRTY; kind++) {
		if (tracker_probe(kind, &e) < 0)
			printf("%s: not on this kernel: %s\n", tracker_kind_name(kind), e.msg);
		else
			n++, r |= with(kind);
		err_clear(&e);
	}
	if (n == 0)
		return printf("skipped: needs root and a tracker\n"), 77;
	return r;
}
