// SPDX-License-Identifier: GPL-2.0-or-later
/* t-push-order.c - what is pushed after the switch-over: each page once, the hottest first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "hauler/pages/order.h"

#define BASE  0x7f0000100000ULL /* not at a chunk's start */
#define PAGES 2000u
#define HOLE  700u /* 100 pages from there on are not left */

static uint64_t page(unsigned int i)
{
	return BASE + i * PAGE_BYTES;
}

static bool is_left(unsigned int i)
{
	return i < HOLE || i >= HOLE + 100;
}

/* Written in scan 1: all; in scan 2: each 10th; in scans 1 to 3: 1500 to 1509. */
static void warm(struct sent *s, uint64_t obj)
{
	struct sent_hash h = { 1, 2 };

	for (unsigned int i = 0; i < PAGES; i++)
		CHECK(sent_same(s, obj, page(i), h) == 0);
	sent_wrote(s, obj, page(0), PAGES, 1);
	for (unsigned int i = 0; i < PAGES; i += 10)
		sent_wrote(s, obj, page(i), 1, 2);
	sent_wrote(s, obj, page(1501), 9, 2);
	sent_wrote(s, obj, page(1500), 10, 3);
}

static unsigned int rank_of(unsigned int i)
{
	return i >= 1500 && i < 1510 ? 2 : i % 10 == 0;
}

/* Of a thousand scans the later one counts more; a page that was never sent has its heat, too. */
static void late(void)
{
	AUTO(sent) struct sent *s = NULL;
	struct err e = ERR_INIT;
	uint64_t obj = obj_of_task(1), one = 1;

	CHECK(sent_new(&s, &e) == 0);
	for (unsigned int scan = 1; scan <= 1000; scan++)
		sent_wrote(s, obj, page(0), 1, scan);
	sent_wrote(s, obj, page(1), 2, 1001);
	sent_wrote(s, obj, page(2), 1, 1001);
	sent_wrote(s, obj, page(3), 1, 15);
	sent_wrote(s, obj, page(4), 1, 16);
	unsigned int h[6];

	for (unsigned int i = 0; i < 6; i++, one = 1)
		h[i] = sent_heat(s, obj, page(i), &one);
	CHECK(h[2] > h[1] && h[1] > h[0] && h[0] > h[4] && h[4] > h[3] && h[3] > h[5]);
	CHECK(SENT_LATE(h[1]) == 1001 && h[5] == 0);
}

int main(void)
{
	AUTO(sent) struct sent *s = NULL;
	struct order *o = NULL;
	struct err e = ERR_INIT;
	uint64_t obj = obj_of_task(4711), got, vaddr, n, total = 0, last_rank = 2;
	static uint8_t seen[PAGES];
	struct left_obj left = { .obj = obj };

	CHECK(sent_new(&s, &e) == 0);
	warm(s, obj);
	CHECK(class_runs_add(&left.runs, page(0), HOLE, PC_LAZY_REMOTE) == 0);
	CHECK(class_runs_add(&left.runs, page(HOLE), 100, PC_LAZY_HERE) == 0);
	CHECK(class_runs_add(&left.runs, page(HOLE + 100), PAGES - HOLE - 100, PC_LAZY_REMOTE) ==
	      0);
	CHECK(order_new(&o, &left, 1, s, &e) == 0);

	late();
	/* neighbours of a fault do not go before what was written last */
	order_waits(o, obj, page(101), 1);
	seen[101]++;
	total++;
	CHECK(order_next(o, &got, &vaddr, &n) && vaddr == page(1500) && n == 10);
	for (unsigned int i = 1500; i < 1510; i++)
		seen[i]++, total++;
	for (unsigned int i = 102; i < 134; i += (unsigned int)n) {
		CHECK(order_next(o, &got, &vaddr, &n) && vaddr == page(i));
		for (uint64_t k = 0; k < n; k++)
			seen[i + k]++, total++;
	}
	CHECK(total == 43);
	/* then each 10th: after twenty of these the program waits for page 301 */
	for (int k = 0; k < 20; k++) {
		CHECK(order_next(o, &got, &vaddr, &n) && got == obj);
		for (uint64_t i = (vaddr - BASE) / PAGE_BYTES; n--; i++) {
			CHECK(rank_of((unsigned int)i) == 1);
			seen[i]++, total++;
		}
	}
	CHECK(total == 63);
	order_waits(o, obj, page(301), 1);
	seen[301]++;
	total++;
	/* what follows it: 32 pages but those that went */
	uint64_t next = page(302);
	unsigned int near = 0;

	while (near < 32 && order_next(o, &got, &vaddr, &n)) {
		CHECK(vaddr >= next && vaddr + n * PAGE_BYTES <= page(302 + 32));
		next = vaddr + n * PAGE_BYTES;
		for (uint64_t i = (vaddr - BASE) / PAGE_BYTES; n--; i++)
			seen[i]++, total++, near++;
		if (next == page(302 + 32))
			break;
	}
	CHECK(near >= 28);
	while (order_next(o, &got, &vaddr, &n))
		for (uint64_t i = (vaddr - BASE) / PAGE_BYTES; n--; i++) {
			CHECK(rank_of((unsigned int)i) <= last_rank);
			last_rank = rank_of((unsigned int)i);
			seen[i]++, total++;
		}
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK(seen[i] == is_left(i));
	CHECK(total == PAGES - 100, "%llu pages, each once", (unsigned long long)total);
	order_free(o);
	class_runs_fini(&left.runs);
	return checks_end();
}
