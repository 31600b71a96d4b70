/* SPDX-License-Identifier: GPL-2.0-or-later */
/* misc_memory.c - locked, hidden, not inherited and downward growing memory, a thread's stack. */
#include "misc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOCKED_PAGES  16
#define HIDDEN_PAGES  64
#define PRIVATE_PAGES 64
#define GROW_PAGES    240 /* less than the 1 MiB guard gap, so nobody is put into the hole */
#define GROW_START    16
#define STACK_BYTES   (32UL << 20)
#define STACK_DEPTH   400
#define RW            (PROT_READ | PROT_WRITE)

static struct area locked, hidden, not_inherited, growing;
static size_t grown; /* pages of the growing area in use, at its upper end */
static struct rnd rnd = { 9 };

static void write_some(struct area *a)
{
	area_write(a, rnd_below(&rnd, a->pages));
	work_count(1);
}

static void locked_set_up(void)
{
	area_init(&locked, work_map(LOCKED_PAGES), LOCKED_PAGES, 1, 1);
	if (mlock(locked.base, LOCKED_PAGES * PAGE_BYTES))
		work_die("mlock: %s", strerror(errno));
	area_stamp_all(&locked);
}

static void locked_turn(void)
{
	write_some(&locked);
}

static void locked_check(struct report *r)
{
	long kib = work_status_kib("VmLck:");

	area_verify(&locked, r);
	if (kib != LOCKED_PAGES * 4)
		rep_error(r, "VmLck is %ld KiB, not %d", kib, LOCKED_PAGES * 4);
}

static void hidden_set_up(void)
{
	area_init(&hidden, work_map(HIDDEN_PAGES), HIDDEN_PAGES, 2, 1);
	area_stamp_all(&hidden);
	mprotect(hidden.base, HIDDEN_PAGES * PAGE_BYTES, PROT_NONE);
}

/* Opened for a moment, now and then. */
static void hidden_turn(void)
{
	if (rnd_below(&rnd, 10))
		return;
	mprotect(hidden.base, HIDDEN_PAGES * PAGE_BYTES, RW);
	write_some(&hidden);
	mprotect(hidden.base, HIDDEN_PAGES * PAGE_BYTES, PROT_NONE);
}

/*
 * Looks for the line of the mapping at @addr in a file of /proc/self, then for the next line that
 * begins with @key.
 */
static bool find_line(const char *file, const void *addr, const char *key, char *line, int size)
{
	char start[32];
	bool here = !key, found = false;
	FILE *f = fopen(file, "re");
	int len = snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)addr);

	while (f && !found && fgets(line, size, f)) {
		if (!strncmp(line, start, (size_t)len))
			found = !key, here = true;
		else if (key && here)
			found = !strncmp(line, key, strlen(key));
	}
	if (f)
		fclose(f);
	return found;
}

static void hidden_check(struct report *r)
{
	char line[256] = "";

	if (!find_line("/proc/self/maps", hidden.base, NULL, line, sizeof(line)) ||
	    !strstr(line, " ---p "))
		rep_error(r, "the PROT_NONE mapping is not: %s", line);
	mprotect(hidden.base, HIDDEN_PAGES * PAGE_BYTES, PROT_READ);
	area_verify(&hidden, r);
	mprotect(hidden.base, HIDDEN_PAGES * PAGE_BYTES, PROT_NONE);
}

static void private_set_up(void)
{
	area_init(&not_inherited, work_map(PRIVATE_PAGES), PRIVATE_PAGES, 3, 1);
	if (madvise(not_inherited.base, PRIVATE_PAGES * PAGE_BYTES, MADV_DONTFORK))
		work_die("MADV_DONTFORK: %s", strerror(errno));
	area_stamp_all(&not_inherited);
}

static void private_turn(void)
{
	write_some(&not_inherited);
}

static void private_check(struct report *r)
{
	char line[256] = "";

	area_verify(&not_inherited, r);
	if (find_line("/proc/self/smaps", not_inherited.base, "VmFlags:", line, sizeof(line)) &&
	    !strstr(line, " dc"))
		rep_error(r, "MADV_DONTFORK is gone: %s", line);
}

static void private_damage(void)
{
	area_sabotage(&not_inherited, 5, 2);
}

static void grow(void)
{
	if (grown < GROW_PAGES) {
		grown++;
		area_stamp(&growing, GROW_PAGES - grown);
	}
}

/* Room to grow lies unmapped between it and a PROT_NONE mapping further down. */
static void growing_set_up(void)
{
	unsigned char *base = mmap(NULL, 3 * GROW_PAGES * PAGE_BYTES, PROT_NONE,
	                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned char *start = base + (2 * GROW_PAGES - GROW_START) * PAGE_BYTES;

	if (base == MAP_FAILED ||
	    munmap(base + GROW_PAGES * PAGE_BYTES, 2 * GROW_PAGES * PAGE_BYTES) ||
	    mmap(start, GROW_START * PAGE_BYTES, RW,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN | MAP_STACK, -1,
	         0) == MAP_FAILED)
		work_die("MAP_GROWSDOWN: %s", strerror(errno));
	area_init(&growing, base + GROW_PAGES * PAGE_BYTES, GROW_PAGES, 4, 1);
	while (grown < 2 * GROW_START)
		grow();
}

static void growing_turn(void)
{
	area_write(&growing, GROW_PAGES - 1 - rnd_below(&rnd, grown));
}

/* It must still grow afterwards. */
static void growing_check(struct report *r)
{
	grow();
	for (size_t i = GROW_PAGES - grown; i < GROW_PAGES; i++)
		area_check(&growing, i, r);
}

static pthread_mutex_t stack_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint stack_rounds;
static unsigned stack_rounds_seen;

/* Goes down, rests there, and checks each frame on the way up. */
static void __attribute__((noinline)) descend(unsigned depth, uint64_t seed)
{
	volatile uint64_t frame[PAGE_WORDS * 4];

	for (size_t k = 0; k < ARRAY_SIZE(frame); k += 4)
		frame[k] = rnd_mix(seed ^ depth << 16 ^ k);
	if (depth)
		descend(depth - 1, seed);
	else
		work_nap_us(100000);
	for (size_t k = 0; k < ARRAY_SIZE(frame); k += 4) {
		if (frame[k] != rnd_mix(seed ^ depth << 16 ^ k)) {
			work_fail("the thread's stack, frame %u, word %zu", depth, k);
			return;
		}
	}
}

static void *run_stack(void *arg)
{
	(void)arg;
	for (;;) {
		/* nobody else holds the lock for long; it is there to be owned at the freeze */
		pthread_mutex_lock(&stack_lock);
		descend(STACK_DEPTH, atomic_load(&stack_rounds));
		atomic_fetch_add(&stack_rounds, 1);
		pthread_mutex_unlock(&stack_lock);
		work_nap_us(1000);
	}
	return NULL;
}

static void stack_set_up(void)
{
	misc_start_thread(run_stack, NULL, STACK_BYTES);
}

/* At least one more round must come to its end. */
static void stack_check(struct report *r)
{
	unsigned seen = atomic_load(&stack_rounds);
	int naps = 0;

	while (atomic_load(&stack_rounds) == seen && naps++ < 6000)
		work_nap_us(10000);
	if (atomic_load(&stack_rounds) == seen || seen < stack_rounds_seen)
		rep_error(r, "the thread with a big stack stands still at round %u", seen);
	stack_rounds_seen = seen;
}

struct thing misc_memory[] = {
	{ .name = "mlock", .set_up = locked_set_up, .turn = locked_turn, .check = locked_check },
	{ .name = "hidden", .set_up = hidden_set_up, .turn = hidden_turn, .check = hidden_check },
	{ .name = "dontfork",
	  .set_up = private_set_up,
	  .turn = private_turn,
	  .check = private_check,
	  .damage = private_damage },
	{ .name = "growsdown",
	  .set_up = growing_set_up,
	  .turn = growing_turn,
	  .check = growing_check },
	{ .name = "stack", .set_up = stack_set_up, .check = stack_check },
};
const size_t misc_nr_memory = ARRAY_SIZE(misc_memory);
