// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * churn.c - maps, unmaps, moves, resizes, discards, protects and forks all the time;
 * a model says what each page must hold, and every region is checked again and again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/work/work.h"

#define REGIONS	  24
#define MAX_PAGES 128
#define ZERO	  UINT32_MAX

struct region {
	uint8_t *mem;
	size_t pages;
	bool whole; /* one mapping: mremap moves several only partly, if one is refused */
	uint32_t gen[MAX_PAGES]; /* ZERO: reads as zero */
	uint64_t index[MAX_PAGES];
};

static struct region regions[REGIONS];
static uint64_t x = 4242, serial, ops, forks;
static char *brk_area;
static uint32_t brk_gen[16];

static void put(struct region *r, size_t i)
{
	r->index[i] = ++serial;
	r->gen[i] = (uint32_t)(serial & 0xffff);
	memset(r->mem + i * PAGE, 0, PAGE);
	stamp_put(r->mem + i * PAGE, 3, r->index[i], r->gen[i]);
}

static bool page_ok(const struct region *r, size_t i)
{
	const uint8_t *p = r->mem + i * PAGE;

	return r->gen[i] == ZERO ? all_zero(p) : stamp_ok(p, 3, r->index[i], r->gen[i]);
}

static uint64_t check_region(const struct region *r)
{
	uint64_t bad = 0;

	for (size_t i = 0; r->mem && i < r->pages; i++)
		bad += !page_ok(r, i);
	return bad;
}

static uint64_t check_all(void)
{
	uint64_t bad = 0;

	for (int i = 0; i < REGIONS; i++)
		bad += check_region(&regions[i]);
	for (size_t i = 0; brk_area && i < 16; i++)
		bad += !stamp_ok(brk_area + i * PAGE, 4, i, brk_gen[i]);
	return bad;
}

static void do_map(struct region *r)
{
	r->pages = 8 + next_random(&x) % (MAX_PAGES - 8);
	r->mem = mmap(NULL, r->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (r->mem == MAP_FAILED)
		work_failed("mmap");
	r->whole = true;
	for (size_t i = 0; i < r->pages; i++)
		r->gen[i] = ZERO;
	for (size_t i = 0; i < r->pages; i++)
		if (next_random(&x) % 4)
			put(r, i);
}

static void do_discard(struct region *r)
{
	size_t from = next_random(&x) % r->pages, n = 1 + next_random(&x) % (r->pages - from);

	madvise(r->mem + from * PAGE, n * PAGE, MADV_DONTNEED);
	for (size_t i = from; i < from + n; i++)
		r->gen[i] = ZERO;
	if (next_random(&x) % 2)
		put(r, from);
}

static void do_move(struct region *r)
{
	uint8_t *to = mmap(NULL, r->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	r->mem = mremap(r->mem, r->pages * PAGE, r->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (r->mem == MAP_FAILED)
		work_failed("mremap move");
}

static void do_resize(struct region *r)
{
	size_t pages = 4 + next_random(&x) % (MAX_PAGES - 4);
	uint8_t *m = mremap(r->mem, r->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);

	if (m == MAP_FAILED)
		work_failed("mremap resize");
	for (size_t i = r->pages; i < pages; i++)
		r->gen[i] = ZERO;
	r->mem = m;
	r->pages = pages;
}

static void do_map_over(struct region *r)
{
	size_t n = 1 + next_random(&x) % r->pages;

	if (mmap(r->mem, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		work_failed("mmap over");
	r->whole = false;
	for (size_t i = 0; i < n; i++)
		r->gen[i] = ZERO;
	put(r, n - 1);
}

static void do_protect(struct region *r)
{
	mprotect(r->mem, r->pages * PAGE, PROT_NONE);
	usleep(next_random(&x) % 1000);
	mprotect(r->mem, r->pages * PAGE, PROT_READ | PROT_WRITE);
}

static void recurse(int depth)
{
	volatile uint8_t room[8192];

	room[0] = (uint8_t)depth;
	room[8191] = (uint8_t)(depth + 1);
	if (depth)
		recurse(depth - 1);
	if (room[0] != (uint8_t)depth || room[8191] != (uint8_t)(depth + 1))
		work_failed("stack frame %d", depth);
}

/* The child sees what its parent had, some of them for a while. */
static void do_fork(void)
{
	if (fork() == 0) {
		unsigned int life_ms = (unsigned int)(next_random(&x) % 8 == 0 ? 1500 : 5);

		if (check_all())
			work_failed("child: inherited memory is wrong");
		usleep(life_ms * 1000);
		do_discard(&regions[0]);
		if (check_all())
			work_failed("child: memory is wrong later");
		_exit(0);
	}
	forks++;
}

static void step(bool may_fork)
{
	struct region *r = &regions[next_random(&x) % REGIONS];
	uint64_t bad = check_region(r);

	if (bad)
		work_failed("%llu pages of a region are wrong after %llu operations",
			    (unsigned long long)bad, (unsigned long long)ops);
	ops++;
	if (!r->mem) {
		do_map(r);
		return;
	}
	switch (next_random(&x) % 12) {
	case 0:
		munmap(r->mem, r->pages * PAGE);
		r->mem = NULL;
		return;
	case 1:
	case 2:
		do_discard(r);
		return;
	case 3:
		if (r->whole)
			do_move(r);
		return;
	case 4:
		if (r->whole)
			do_resize(r);
		return;
	case 5:
		do_map_over(r);
		return;
	case 6:
		do_protect(r);
		return;
	case 7:
		recurse((int)(next_random(&x) % 40));
		return;
	case 8:
		if (may_fork && next_random(&x) % 8 == 0 && regions[0].mem)
			do_fork();
		return;
	default:
		put(r, next_random(&x) % r->pages);
	}
}

int main(int argc, char **argv)
{
	work_init(argc, argv);
	bool may_fork = work_option("--fork", 1) != 0;
	unsigned int pause_us = (unsigned int)work_option("--pause-us", 300);

	brk_area = (char *)(((uintptr_t)sbrk(17 * PAGE) + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	for (size_t i = 0; i < 16; i++) {
		memset(brk_area + i * PAGE, 0, PAGE);
		stamp_put(brk_area + i * PAGE, 4, i, 0);
	}
	for (int i = 0; i < REGIONS; i++)
		do_map(&regions[i]);
	work_ready();
	for (;;) {
		size_t i = next_random(&x) % 16;

		step(may_fork);
		stamp_put(brk_area + i * PAGE, 4, i, ++brk_gen[i]);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (work_wanted()) {
			uint64_t bad = check_all();

			work_report(bad == 0, "\"bad\": %llu, \"ops\": %llu, \"forks\": %llu",
				    (unsigned long long)bad, (unsigned long long)ops,
				    (unsigned long long)forks);
		}
		usleep(pause_us);
	}
}
