// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * writer.c - stamps pages at random at an even pace; checks each before it writes,
 * all on demand. Records its own speed: DIR/stats.K is "real_us,ops,longest_gap_us"
 * for each 10 ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/work/work.h"

#define SLOT_US	 10000
#define SLOTS	 60000 /* 600 s */
#define TURN_US	 500
#define CATCH_US 10000

struct slot {
	uint64_t at_us;
	uint32_t ops, gap_us;
};

static struct slot *slots;
static unsigned int n_slots;

static void save_stats(int k)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/stats.%d", work_dir(), k);
	FILE *f = fopen(path, "w");

	for (unsigned int i = 0; f && i < n_slots; i++)
		fprintf(f, "%llu,%u,%u\n", (unsigned long long)slots[i].at_us, slots[i].ops,
			slots[i].gap_us);
	if (f)
		fclose(f);
}

static void account(uint64_t now, uint32_t ops, uint64_t gap)
{
	struct slot *s = n_slots ? &slots[n_slots - 1] : NULL;

	if (!s || now - s->at_us >= SLOT_US) {
		if (n_slots == SLOTS)
			return;
		s = &slots[n_slots++];
		*s = (struct slot){ .at_us = now };
	}
	s->ops += ops;
	if (gap > s->gap_us)
		s->gap_us = (uint32_t)gap;
}

static void verify(uint8_t *mem, const uint32_t *gen, size_t pages, uint64_t ops, int k)
{
	size_t bad = 0, zero = 0;

	for (size_t i = 0; i < pages; i++)
		if (!stamp_ok(mem + i * PAGE, 1, i, gen[i])) {
			bad++;
			zero += all_zero(mem + i * PAGE);
		}
	save_stats(k);
	work_report(bad == 0, "\"pages\": %zu, \"bad\": %zu, \"zero\": %zu, \"ops\": %llu", pages, bad,
		    zero, (unsigned long long)ops);
}

int main(int argc, char **argv)
{
	work_init(argc, argv);
	size_t pages = (size_t)work_option("--mib", 64) * 256;
	double rate = (double)work_option("--rate", 5000);
	size_t hot = pages * (size_t)work_option("--hot-percent", 100) / 100;
	uint32_t *gen = calloc(pages, sizeof(*gen));
	uint8_t *mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	uint64_t x = 88172645463325252ULL, ops = 0;
	int k = 0;

	slots = calloc(SLOTS, sizeof(*slots));
	if (mem == MAP_FAILED || !gen || !slots)
		return 1;
	memset(slots, 1, SLOTS * sizeof(*slots));	/* touched once, before we are watched */
	for (size_t i = 0; i < pages; i++)
		stamp_put(mem + i * PAGE, 1, i, 0);
	work_ready();
	uint64_t last = real_us();
	double due = 0;

	for (;;) {
		uint64_t now = real_us(), gap = now - last;

		due += rate * (double)(gap < CATCH_US ? gap : CATCH_US) / 1e6;
		account(now, 0, gap);
		uint32_t n = (uint32_t)due;

		due -= n;
		for (uint32_t i = 0; i < n; i++) {
			size_t p = next_random(&x) % hot;

			if (!stamp_ok(mem + p * PAGE, 1, p, gen[p]))
				work_failed("page %zu is not generation %u%s", p, gen[p],
					    all_zero(mem + p * PAGE) ? ": zero" : "");
			stamp_put(mem + p * PAGE, 1, p, ++gen[p]);
			/* the gap between two writes is what a user would feel */
			uint64_t then = now;

			now = real_us();
			account(now, 1, now - then);
		}
		ops += n;
		last = now;
		if (work_wanted()) {
			verify(mem, gen, pages, ops, ++k);
			last = real_us();
		}
		usleep(TURN_US);
	}
}
