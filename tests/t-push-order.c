// SPDX-License-Identifier: GPL-2.0-or-later
/* t-push-order.c - what is pushed after the switch-over: each page once, the hottest first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hauler/order.h"

#define BASE  0x7f0000100000ULL /* not at a chunk's start */
#define PAGES 2000u
#define HOLE  700u /* 100 pages from there on are not left */

static int wrong;

static void check(bool ok, int line, const char *what)
{
	if (!ok)
		wrong++, printf("line %d: %s\n", line, what);
}

#define CHECK(x) check((x), __LINE__, #x)

static uint64_t page(unsigned int i)
{
	return BASE + i * ENG_PAGE_BYTES;
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

int main(void)
{
	AUTO(sent) struct sent *s = NULL;
	struct order *o = NULL;
	struct err e = ERR_INIT;
	uint64_t obj = OBJ_TASK(4711), got, vaddr, n, total = 0, last_rank = 2;
	static uint8_t seen[PAGES];
	struct left_obj left = { .obj = obj };

	CHECK(sent_new(&s, &e) == 0);
	warm(s, obj);
	CHECK(cruns_add(&left.runs, page(0), HOLE, PC_LAZY_REMOTE) == 0);
	CHECK(cruns_add(&left.runs, page(HOLE), 100, PC_LAZY_HERE) == 0);
	CHECK(cruns_add(&left.runs, page(HOLE + 100), PAGES - HOLE - 100, PC_LAZY_REMOTE) == 0);
	CHECK(order_new(&o, &left, 1, s, &e) == 0);

	/* 1500 to 1509 first, then each 10th: after twenty of these the program waits for page 301 */
	for (int k = 0; k < 21; k++) {
		CHECK(order_next(o, &got, &vaddr, &n) && got == obj);
		for (uint64_t i = (vaddr - BASE) / ENG_PAGE_BYTES; n--; i++)
			seen[i]++, total++,
			        CHECK(k ? rank_of((unsigned int)i) == 1
			                : rank_of((unsigned int)i) == 2);
	}
	CHECK(total == 30);
	order_waits(o, obj, page(301), 1);
	seen[301]++;
	total++;
	/* what follows it: 32 pages but those that went */
	uint64_t next = page(302);
	unsigned int near = 0;

	while (near < 32 && order_next(o, &got, &vaddr, &n)) {
		CHECK(vaddr >= next && vaddr + n * ENG_PAGE_BYTES <= page(302 + 32));
		next = vaddr + n * ENG_PAGE_BYTES;
		for (uint64_t i = (vaddr - BASE) / ENG_PAGE_BYTES; n--; i++)
			seen[i]++, total++, near++;
		if (next == page(302 + 32))
			break;
	}
	CHECK(near >= 28);
	while (order_next(o, &got, &vaddr, &n))
		for (uint64_t i = (vaddr - BASE) / ENG_PAGE_BYTES; n--; i++) {
			CHECK(rank_of((unsigned int)i) <= last_rank);
			last_rank = rank_of((unsigned int)i);
			seen[i]++, total++;
		}
	for (unsigned int i = 0; i < PAGES; i++)
		CHECK(seen[i] == is_left(i));
	printf("%llu pages, each once: %s\n", (unsigned long long)total, wrong ? "no" : "yes");
	order_free(o);
	cruns_fini(&left.runs);
	return wrong != 0 || total != PAGES - 100;
}
