/* SPDX-License-Identifier: GPL-2.0-or-later */
/* writer.c - random page writes at an even pace; records its own speed and gaps. */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT_US    10000
#define RING_SLOTS 60000 /* 600 s */

struct slot {
	int64_t start_us; /* CLOCK_REALTIME */
	uint32_t len_us; /* SLOT_US unless the thread was held up */
	uint32_t ops;
	uint32_t gap_us; /* largest between two turns */
};

struct hand {
	struct area area;
	struct pace pace;
	struct rnd rnd;
	size_t hot_pages;
	int64_t gap_us, gap_at_us; /* largest since the last verification */
	struct slot now;
	struct slot *ring; /* NULL: not recording */
	uint64_t slots;
	size_t filled; /* by --phases */
	uint64_t computed;
};

static long mib = 64, rate = 10000, threads = 1, hot_percent = 100, compress_percent = 50;
static long step = 1, thp, phases, shared_mib;
static const char *stats;
static const struct work_opt opts[] = {
	{ "--mib", "memory in MiB (64)", &mib, NULL, NULL },
	{ "--rate", "page writes per second of all threads, 0 = full speed (10000)", &rate, NULL,
	  NULL },
	{ "--shared-mib", "MiB of it that are shared memory (0)", &shared_mib, NULL, NULL },
	{ "--threads", "writing threads (1)", &threads, NULL, NULL },
	{ "--hot-percent", "share of the memory that is written (100)", &hot_percent, NULL, NULL },
	{ "--compress", "share of a page that compresses (50)", &compress_percent, NULL, NULL },
	{ "--step", "stamp every n-th word of a page (1)", &step, NULL, NULL },
	{ "--thp", "0 as the system has it, 1 MADV_HUGEPAGE, 2 MADV_NOHUGEPAGE", &thp, NULL, NULL },
	{ "--phases",
	  "fill memory in order, then this many writes to the hot part, then be idle; 0: no (0)",
	  &phases, NULL, NULL },
	{ "--stats", "record speed, dump to DIR/NAME.N at verification N", NULL, &stats, NULL },
	{ 0 },
};

static struct hand *hands;

static void record(struct hand *h, unsigned ops)
{
	int64_t now_us = h->pace.last_us;
	uint32_t gap_us = h->pace.gap_us > UINT32_MAX ? UINT32_MAX : (uint32_t)h->pace.gap_us;

	if (h->pace.gap_us > h->gap_us) {
		h->gap_us = h->pace.gap_us;
		h->gap_at_us = now_us - h->gap_us;
	}
	if (!h->ring)
		return;
	if (gap_us > h->now.gap_us)
		h->now.gap_us = gap_us;
	if (now_us - h->now.start_us >= SLOT_US || now_us < h->now.start_us) {
		h->now.len_us = now_us < h->now.start_us ? 0 : (uint32_t)(now_us - h->now.start_us);
		h->ring[h->slots++ % RING_SLOTS] = h->now;
		h->now = (struct slot){ .start_us = now_us };
	}
	h->now.ops += ops;
}

static bool is_idle(const struct hand *h)
{
	return phases && h->filled == h->area.pages && h->computed == (uint64_t)phases;
}

/* The page that is written next. */
static size_t pick(struct hand *h)
{
	if (phases && h->filled < h->area.pages)
		return h->filled++;
	h->computed += phases && h->computed < (uint64_t)phases;
	return rnd_below(&h->rnd, h->hot_pages);
}

static void turn(struct hand *h)
{
	unsigned done = 0, due = pace_due(&h->pace);

	if (!work_may_write())
		due = 0;
	if (due > 1 && is_idle(h)) {
		due = 1;
		work_nap_us(20000);
	}
	while (done < due && area_write(&h->area, pick(h)) == 0)
		done++;
	record(h, done);
	work_count(done);
	if (due)
		pace_nap(&h->pace);
	else
		work_nap_us(500);
}

static void *run(void *arg)
{
	struct hand *h = arg;

	pace_init(&h->pace, rate / threads);
	h->now.start_us = h->pace.last_us;
	while (crew_turn(NULL, NULL))
		turn(h);
	return NULL;
}

static void dump_stats(void)
{
	static const char head[] = "realtime_us,len_us,ops,gap_us,thread\n";
	size_t used = sizeof(head) - 1, room = used;
	char name[200], *text;

	for (long t = 0; t < threads; t++)
		room += (hands[t].slots < RING_SLOTS ? hands[t].slots : RING_SLOTS) * 80;
	text = work_map(room / PAGE_BYTES + 1);
	memcpy(text, head, used);
	for (long t = 0; t < threads; t++) {
		struct hand *h = &hands[t];
		uint64_t i = h->slots > RING_SLOTS ? h->slots - RING_SLOTS : 0;

		for (; i < h->slots; i++) {
			struct slot *s = &h->ring[i % RING_SLOTS];

			used += (size_t)sprintf(text + used, "%ld,%u,%u,%u,%ld\n", s->start_us,
			                        s->len_us, s->ops, s->gap_us, t);
		}
	}
	snprintf(name, sizeof(name), "%s.%u", stats, work_verify_number());
	work_write_file(name, text, used);
	munmap(text, (room / PAGE_BYTES + 1) * PAGE_BYTES);
}

static void verify(struct report *r)
{
	int64_t gap_us = 0, at_us = 0;

	if (!crew_park(60))
		rep_error(r, "a thread does not answer");
	if (work_sabotage_due())
		area_sabotage(&hands[0].area, hands[0].area.pages / 2, work_sabotage_due());
	for (long t = 0; t < threads; t++) {
		struct hand *h = &hands[t];

		area_verify(&h->area, r);
		if (h->gap_us > gap_us) {
			gap_us = h->gap_us;
			at_us = h->gap_at_us;
		}
		h->gap_us = 0;
	}
	rep_extra(r, ",\"max_gap_us\":%ld,\"max_gap_at_us\":%ld", gap_us, at_us);
	if (stats)
		dump_stats();
	for (long t = 0; t < threads; t++) {
		hands[t].pace.last_us = work_now_us();
		hands[t].now = (struct slot){ .start_us = hands[t].pace.last_us };
	}
	crew_release();
}

static void set_up(void)
{
	size_t each = (size_t)mib * MIB_PAGES / (size_t)threads;
	unsigned char *base = work_map(each * (size_t)threads);

	if (thp && madvise(base, each * (size_t)threads * PAGE_BYTES,
	                   thp == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0)
		work_die("madvise refused");
	size_t shared = (size_t)shared_mib * MIB_PAGES;

	if (shared && mmap(base + (each * (size_t)threads - shared) * PAGE_BYTES,
	                   shared * PAGE_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		work_die("no shared memory");
	hands = work_map((size_t)threads * sizeof(*hands) / PAGE_BYTES + 1);
	for (long t = 0; t < threads; t++) {
		struct hand *h = &hands[t];

		area_init(&h->area, base + (size_t)t * each * PAGE_BYTES, each, (uint32_t)t,
		          (uint16_t)t);
		h->area.step = (uint16_t)step;
		h->area.noise_words = (uint16_t)((PAGE_WORDS - 1) *
		                                 (100 - (size_t)compress_percent) / 100);
		h->hot_pages = each * (size_t)hot_percent / 100;
		h->rnd.state = (uint64_t)t + 1;
		if (stats)
			h->ring = work_map(RING_SLOTS * sizeof(*h->ring) / PAGE_BYTES + 1);
		if (!phases)
			area_stamp_all(&h->area);
	}
}

int main(int argc, char **argv)
{
	work_start(argc, argv, opts);
	if (threads < 1 || threads > CREW_MAX || mib < 1 || step < 1 || step > 64 ||
	    hot_percent < 1 || hot_percent > 100 || compress_percent > 100 ||
	    (rate && rate < threads) || phases < 0 || shared_mib < 0 || shared_mib >= mib)
		work_die("an option is out of range");
	set_up();
	crew_start((unsigned)threads - 1, run, hands + 1, sizeof(*hands));
	work_ready();
	pace_init(&hands[0].pace, rate / threads);
	hands[0].now.start_us = hands[0].pace.last_us;
	while (work_poll(verify))
		turn(&hands[0]);
	crew_stop();
	return 0;
}
