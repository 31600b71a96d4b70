/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sparse.c - 64 GiB reserved, few pages touched: single ones, runs, huge pages, PROT_NONE. */
#include "work.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT_PAGES  512UL /* 2 MiB; each slot is used for one thing */
#define READ_SLOTS  256 /* touched by reading only */
#define NONE_AREAS  16
#define NONE_PAGES  4
#define SINGLES_MAX 16384
#define HUGE_MAX    64
#define UNTOUCHED   1000 /* pages looked at in each verification */

enum use { UNUSED, TOUCHED, READ_ONLY };

static long mib = 64, rate = 200, gib = 64;
static const struct work_opt opts[] = {
	{ "--mib", "memory touched in MiB (64)", &mib, NULL, NULL },
	{ "--rate", "page writes per second (200)", &rate, NULL, NULL },
	{ "--gib", "address space reserved, twice, in GiB (64)", &gib, NULL, NULL },
	{ 0 },
};

static unsigned char *big, *none;
static size_t slots;
static unsigned char *used; /* enum use per slot */
static struct area *areas; /* first the ones that are written */
static size_t nr_areas, touched_pages;
static struct area none_areas[NONE_AREAS];
static struct rnd rnd = { 1 };

static unsigned char *reserve(size_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		work_die("cannot reserve %zu bytes: %s", bytes, strerror(errno));
	return p;
}

static size_t take_slot(enum use use)
{
	size_t slot;

	do {
		slot = rnd_below(&rnd, slots);
	} while (used[slot]);
	used[slot] = (unsigned char)use;
	return slot;
}

/* Stamps @pages pages at a random place of a slot of their own. */
static void touch(size_t pages)
{
	size_t at = take_slot(TOUCHED) * SLOT_PAGES + rnd_below(&rnd, SLOT_PAGES - pages + 1);
	unsigned char *base = big + at * PAGE_BYTES;
	struct area *a = &areas[nr_areas];

	if (pages == SLOT_PAGES)
		madvise(base, pages * PAGE_BYTES, MADV_HUGEPAGE);
	area_init(a, base, pages, (uint32_t)nr_areas, 1);
	area_stamp_all(a);
	touched_pages += pages;
	nr_areas++;
}

static void touch_read_only(void)
{
	for (int i = 0; i < READ_SLOTS; i++) {
		size_t at = take_slot(READ_ONLY) * SLOT_PAGES + rnd_below(&rnd, SLOT_PAGES);

		if (*(volatile unsigned char *)(big + at * PAGE_BYTES))
			work_die("fresh memory is not zero");
	}
}

static void fill_none(void)
{
	size_t stride = (size_t)gib * 1024 * MIB_PAGES / NONE_AREAS;

	for (unsigned i = 0; i < NONE_AREAS; i++) {
		unsigned char *base = none + (i * stride + 100 + i) * PAGE_BYTES;

		mprotect(base, NONE_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE);
		area_init(&none_areas[i], base, NONE_PAGES, 100000 + i, 1);
		area_stamp_all(&none_areas[i]);
		mprotect(base, NONE_PAGES * PAGE_BYTES, PROT_NONE);
		touched_pages += NONE_PAGES;
	}
}

static void check_zero(size_t page, struct report *r)
{
	const uint64_t *w = (const uint64_t *)(const void *)(big + page * PAGE_BYTES);

	r->checked_pages++;
	for (size_t k = 0; k < PAGE_WORDS; k++) {
		if (w[k]) {
			rep_page(r, w, "page %zu must be zero, word %zu is %016lx", page, k, w[k]);
			return;
		}
	}
}

/* Pages never written: of slots that were only read, and of slots never looked at. */
static void check_untouched(struct report *r)
{
	for (size_t s = 0; s < slots; s++) {
		for (size_t i = 0; used[s] == READ_ONLY && i < SLOT_PAGES; i += 8)
			check_zero(s * SLOT_PAGES + i, r);
	}
	for (int n = 0; n < UNTOUCHED;) {
		size_t page = rnd_below(&rnd, slots * SLOT_PAGES);

		if (used[page / SLOT_PAGES] == UNUSED) {
			check_zero(page, r);
			n++;
		}
	}
	/* the rest of a slot in which a single page was touched */
	for (size_t i = 0; i < nr_areas && i < UNTOUCHED; i++) {
		size_t first = (size_t)(areas[i].base - big) / PAGE_BYTES;
		size_t end = first + areas[i].pages;

		if (first % SLOT_PAGES)
			check_zero(first - 1, r);
		if (end % SLOT_PAGES)
			check_zero(end, r);
	}
}

static void check_none(struct report *r)
{
	for (unsigned i = 0; i < NONE_AREAS; i++) {
		mprotect(none_areas[i].base, NONE_PAGES * PAGE_BYTES, PROT_READ);
		area_verify(&none_areas[i], r);
		mprotect(none_areas[i].base, NONE_PAGES * PAGE_BYTES, PROT_NONE);
	}
}

static void verify(struct report *r)
{
	long rss_kib = work_status_kib("VmRSS:");
	/* models take a page each in the worst case; then room for libraries */
	long limit_kib = (long)(touched_pages + nr_areas) * 4 * 2 + 64 * 1024;

	if (work_sabotage_due() == 5)
		big[8 * PAGE_BYTES] = 1;
	else if (work_sabotage_due())
		area_sabotage(&areas[0], 7, work_sabotage_due());
	for (size_t i = 0; i < nr_areas; i++)
		area_verify(&areas[i], r);
	check_none(r);
	check_untouched(r);
	if (rss_kib < 0 || rss_kib > limit_kib)
		rep_error(r, "VmRSS is %ld KiB, expected at most %ld", rss_kib, limit_kib);
	rep_extra(r, ",\"rss_kib\":%ld,\"rss_limit_kib\":%ld,\"touched_pages\":%zu", rss_kib,
	          limit_kib, touched_pages);
}

static void set_up(void)
{
	size_t bytes = (size_t)gib << 30, want = (size_t)mib * MIB_PAGES;
	size_t singles = want / 3 < SINGLES_MAX ? want / 3 : SINGLES_MAX;

	slots = bytes / PAGE_BYTES / SLOT_PAGES;
	used = work_map(slots / PAGE_BYTES + 1);
	areas = work_map(slots * sizeof(*areas) / PAGE_BYTES + 1);
	big = reserve(bytes + SLOT_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE);
	big += -(uintptr_t)big % (SLOT_PAGES * PAGE_BYTES);
	none = reserve(bytes, PROT_NONE);
	/* a single page must not cost 2 MiB */
	madvise(big, bytes, MADV_NOHUGEPAGE);
	used[0] = READ_ONLY;
	for (size_t i = 0; i < HUGE_MAX && i * SLOT_PAGES < want / 3; i++)
		touch(SLOT_PAGES);
	for (size_t i = 0; i < singles; i++)
		touch(1);
	while (touched_pages < want && nr_areas < slots / 2)
		touch(2 + rnd_below(&rnd, 63));
	touch_read_only();
	fill_none();
}

int main(int argc, char **argv)
{
	struct pace pace;

	work_start(argc, argv, opts);
	if (mib < 4 || gib < 1 || mib > gib * 128)
		work_die("an option is out of range");
	set_up();
	work_ready();
	pace_init(&pace, rate);
	while (work_poll(verify)) {
		unsigned due = pace_due(&pace);

		for (; due && work_may_write(); due--) {
			struct area *a = &areas[rnd_below(&rnd, nr_areas)];

			area_write(a, rnd_below(&rnd, a->pages));
			work_count(1);
		}
		work_nap_us(2000);
	}
	return 0;
}
