/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pool.c - the operations on churn's regions; each keeps the model in step. */
#include "pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_PAGES 256
#define BRK_PAGES    2048
#define RW           (PROT_READ | PROT_WRITE)

struct region {
	struct area area; /* no pages: the slot is free */
	size_t shut_from, shut_to; /* pages that cannot be written */
	int prot; /* of those */
	bool joined; /* more than one mapping: mremap would refuse it */
};

static struct region *regions;
static size_t nr_regions;
static struct area brk_area;
static bool use_free;
static struct rnd rnd = { 5 };

struct rnd *pool_rnd(void)
{
	return &rnd;
}

static unsigned char *at(const struct area *a, size_t page)
{
	return a->base + page * PAGE_BYTES;
}

static void refused(const char *what)
{
	work_fail("%s: %s", what, strerror(errno));
}

static struct region *pick(bool live)
{
	for (size_t n = 0; n < nr_regions; n++) {
		struct region *g = &regions[rnd_below(&rnd, nr_regions)];

		if ((g->area.pages != 0) == live)
			return g;
	}
	return NULL;
}

/* A live region that is writable as a whole. */
static struct region *pick_open(void)
{
	struct region *g = pick(true);

	return g && g->shut_to == g->shut_from ? g : NULL;
}

static void pick_range(const struct area *a, size_t *from, size_t *count)
{
	*from = rnd_below(&rnd, a->pages);
	*count = 1 + rnd_below(&rnd, a->pages - *from);
}

static void clear_want(struct area *a, size_t from, size_t count)
{
	memset(a->want + from, 0, count * sizeof(*a->want));
}

/*
 * mremap() refuses a range of several mappings. Shut regions are that, and stay so when they were
 * restored piece by piece, because the pieces no longer merge.
 */
static void mremap_refused(struct region *g)
{
	if (errno == EFAULT)
		g->joined = true;
	else
		refused("mremap");
}

static void protect(struct region *g, int prot)
{
	if (g->shut_to > g->shut_from &&
	    mprotect(at(&g->area, g->shut_from), (g->shut_to - g->shut_from) * PAGE_BYTES, prot))
		refused("mprotect");
}

void pool_write(void)
{
	struct region *g = pick(true);

	for (int n = 0; g && n < 8 && work_may_write(); n++) {
		size_t page = rnd_below(&rnd, g->area.pages);

		if (page < g->shut_from || page >= g->shut_to)
			area_write(&g->area, page);
	}
}

static void check_one(void)
{
	struct region *g = pick(true);
	struct report r = { 0 };

	for (size_t i = 0; g && i < g->area.pages; i++) {
		bool hidden = g->prot == PROT_NONE && i >= g->shut_from && i < g->shut_to;

		if (!hidden && !area_holds(&g->area, i, &r))
			return;
	}
}

static void map_one(void)
{
	struct region *g = pick(false);
	size_t pages = 1 + rnd_below(&rnd, REGION_PAGES);
	void *p;

	if (!g)
		return;
	p = mmap(NULL, pages * PAGE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		refused("mmap");
		return;
	}
	g->area.base = p;
	g->area.pages = pages;
	g->area.first = 0;
	g->shut_from = g->shut_to = 0;
	g->joined = false;
	clear_want(&g->area, 0, REGION_PAGES);
	for (size_t i = 0; i < pages; i += 1 + rnd_below(&rnd, 3))
		area_write(&g->area, i);
}

static void unmap_one(void)
{
	struct region *g = pick(true);

	if (!g)
		return;
	if (munmap(g->area.base, g->area.pages * PAGE_BYTES))
		refused("munmap");
	g->area.pages = 0;
}

/* Cuts off the head or the tail. */
static void trim(void)
{
	struct region *g = pick_open();
	struct area *a = g ? &g->area : NULL;
	size_t cut;

	if (!g || a->pages < 2)
		return;
	cut = 1 + rnd_below(&rnd, a->pages - 1);
	a->pages -= cut;
	if (rnd_below(&rnd, 2)) {
		if (munmap(at(a, a->pages), cut * PAGE_BYTES))
			refused("munmap of a tail");
		clear_want(a, a->pages, cut);
		return;
	}
	if (munmap(a->base, cut * PAGE_BYTES))
		refused("munmap of a head");
	a->base += cut * PAGE_BYTES;
	a->first += cut;
	memmove(a->want, a->want + cut, a->pages * sizeof(*a->want));
	clear_want(a, a->pages, cut);
}

/* Grows or shrinks, in place or elsewhere. */
static void resize(void)
{
	struct region *g = pick_open();
	struct area *a = g ? &g->area : NULL;
	size_t pages = 1 + rnd_below(&rnd, REGION_PAGES);
	void *p;

	if (!g || g->joined)
		return;
	p = mremap(a->base, a->pages * PAGE_BYTES, pages * PAGE_BYTES, MREMAP_MAYMOVE);
	if (p == MAP_FAILED) {
		mremap_refused(g);
		return;
	}
	a->base = p;
	if (pages < a->pages)
		clear_want(a, pages, a->pages - pages);
	a->pages = pages;
}

static void move(void)
{
	struct region *g = pick_open();
	struct area *a = g ? &g->area : NULL;
	size_t bytes = g ? a->pages * PAGE_BYTES : 0;
	void *to, *p;

	if (!g || g->joined)
		return;
	to = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED) {
		refused("mmap");
		return;
	}
	p = mremap(a->base, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (p == MAP_FAILED) {
		mremap_refused(g);
		munmap(to, bytes);
		return;
	}
	a->base = p;
}

/* Shuts a part of a region, or opens it again. */
static void shut(void)
{
	struct region *g = pick(true);
	size_t count;

	if (!g)
		return;
	if (g->shut_to > g->shut_from) {
		protect(g, RW);
		g->shut_from = g->shut_to = 0;
		return;
	}
	pick_range(&g->area, &g->shut_from, &count);
	g->shut_to = g->shut_from + count;
	g->prot = rnd_below(&rnd, 2) ? PROT_NONE : PROT_READ;
	protect(g, g->prot);
}

/* Discarded pages read as zero, shut ones too. */
void pool_discard(void)
{
	struct region *g = pick(true);
	size_t from, count;

	if (!g)
		return;
	pick_range(&g->area, &from, &count);
	if (madvise(at(&g->area, from), count * PAGE_BYTES, MADV_DONTNEED))
		refused("MADV_DONTNEED");
	clear_want(&g->area, from, count);
}

static void set_free(void)
{
	struct region *g = pick_open();
	size_t from, count;

	if (!g || !use_free)
		return;
	pick_range(&g->area, &from, &count);
	if (madvise(at(&g->area, from), count * PAGE_BYTES, MADV_FREE))
		refused("MADV_FREE");
	for (size_t i = from; i < from + count; i++) {
		if (g->area.want[i])
			g->area.want[i] |= WANT_MAYBE;
	}
}

/* A fresh mapping over a part of an old one. */
static void map_over(void)
{
	struct region *g = pick_open();
	size_t from, count;

	if (!g)
		return;
	pick_range(&g->area, &from, &count);
	if (mmap(at(&g->area, from), count * PAGE_BYTES, RW,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		refused("MAP_FIXED");
	clear_want(&g->area, from, count);
	g->joined = true;
}

static void move_brk(void)
{
	struct area *a = &brk_area;
	size_t pages = 1 + rnd_below(&rnd, 64);
	bool grow = a->pages < 64 || (a->pages + pages <= BRK_PAGES && rnd_below(&rnd, 2));
	size_t old = a->pages;

	if (!grow)
		pages = rnd_below(&rnd, a->pages);
	if (sbrk(grow ? (intptr_t)(pages * PAGE_BYTES) : -(intptr_t)(pages * PAGE_BYTES)) ==
	    (void *)-1) {
		refused("sbrk");
		return;
	}
	if (!grow) {
		a->pages -= pages;
		clear_want(a, a->pages, pages);
		return;
	}
	a->pages += pages;
	for (size_t i = old; i < a->pages; i += 2)
		area_write(a, i);
}

static void write_brk(void)
{
	if (brk_area.pages)
		area_write(&brk_area, rnd_below(&rnd, brk_area.pages));
}

const struct pool_op pool_ops[] = {
	{ "write", 300, pool_write },
	{ "check", 40, check_one },
	{ "map", 24, map_one },
	{ "unmap", 12, unmap_one },
	{ "trim", 12, trim },
	{ "resize", 16, resize },
	{ "move", 12, move },
	{ "protect", 24, shut },
	{ "discard", 16, pool_discard },
	{ "free", 8, set_free },
	{ "map_over", 12, map_over },
	{ "brk", 12, move_brk },
	{ "write_brk", 40, write_brk },
};
const size_t pool_nr_ops = ARRAY_SIZE(pool_ops);

/**
 * pool_init() - empty regions and an empty heap; nothing may call malloc() after it
 * @with_free: use MADV_FREE as well
 */
void pool_init(size_t count, bool with_free)
{
	uintptr_t top = (uintptr_t)sbrk(0);

	use_free = with_free;
	nr_regions = count;
	regions = work_map(count * sizeof(*regions) / PAGE_BYTES + 1);
	for (size_t i = 0; i < count; i++) {
		area_init(&regions[i].area, NULL, REGION_PAGES, (uint32_t)i, 1);
		regions[i].area.pages = 0;
	}
	/* one page above whatever the C library may have put there */
	if (sbrk((intptr_t)(-top % PAGE_BYTES + PAGE_BYTES)) == (void *)-1)
		work_die("sbrk: %s", strerror(errno));
	area_init(&brk_area, sbrk(0), BRK_PAGES, (uint32_t)count, 1);
	brk_area.pages = 0;
	for (size_t i = 0; i < count / 2; i++)
		map_one();
}

/* Pages written from now on carry @owner. */
void pool_own(uint16_t owner)
{
	for (size_t i = 0; i < nr_regions; i++)
		regions[i].area.owner = owner;
	brk_area.owner = owner;
}

void pool_verify(struct report *r)
{
	for (size_t i = 0; i < nr_regions; i++) {
		struct region *g = &regions[i];

		if (!g->area.pages)
			continue;
		protect(g, PROT_READ);
		area_verify(&g->area, r);
		protect(g, g->prot);
	}
	area_verify(&brk_area, r);
}

/* Kind 5: a page that was never written is no longer zero. */
void pool_sabotage(long kind)
{
	struct area *a = &brk_area;

	while (a->pages < 2)
		move_brk();
	if (kind == 5) {
		a->want[0] = 0;
		return;
	}
	area_write(a, 0);
	area_sabotage(a, 0, kind);
}

size_t pool_pages(void)
{
	size_t pages = brk_area.pages;

	for (size_t i = 0; i < nr_regions; i++)
		pages += regions[i].area.pages;
	return pages;
}
