// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-store-pages.c - the page store against a model: writes, zeros, drops and reads at
 * random, from several threads at once, over a huge sparse range, with a hostile peer.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/store/store.h"
#include "engine/runs.h"
#include "tests/checks.h"

#define PG      4096ULL
#define END     (1ULL << 47)
#define PAGES   8192u
#define THREADS 4u

static struct err e;

static uint64_t rnd(uint64_t *s)
{
	uint64_t x = *s += 0x9e3779b97f4a7c15ULL;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static void fill(uint64_t *page, uint64_t id)
{
	for (size_t i = 0; i < PG / 8; i++)
		page[i] = id * 0x10001 + i;
}

static bool is(const uint64_t *page, uint64_t id)
{
	uint64_t diff = 0;

	for (size_t i = 0; i < PG / 8; i++)
		diff |= page[i] ^ (id ? id * 0x10001 + i : 0);
	return diff == 0;
}

static uint64_t blocks(const struct sobj *o)
{
	struct stat st;

	return fstat(store_fd(o), &st) == 0 ? (uint64_t)st.st_blocks * 512 / PG : 0;
}

static void hostile(struct store *s)
{
	struct sobj *o = store_obj(s, obj_of_task(1), true);
	uint8_t page[PG] = { 1 };
	static const struct {
		uint64_t vaddr;
		size_t pages;
	} bad[] = {
		{ 1, 1 },
		{ 4095, 1 },
		{ END, 1 },
		{ END - PG, 2 },
		{ UINT64_MAX & ~(PG - 1), 1 },
		{ UINT64_MAX & ~(PG - 1), 2 },
		{ 0, SIZE_MAX },
		{ 0, SIZE_MAX / PG + 1 },
		{ PG, (1ULL << 52) },
		{ 1ULL << 56, 1 },
		{ 1ULL << 63, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		MUST_E(store_write(o, bad[i].vaddr, page, bad[i].pages, NULL) == -EINVAL, e);
		MUST_E(store_zero(o, bad[i].vaddr, bad[i].pages, NULL) == -EINVAL, e);
		store_drop(o, bad[i].vaddr, bad[i].pages);
		MUST_E(store_state(o, bad[i].vaddr & ~(PG - 1)) == PAGE_ABSENT, e);
		MUST_E(store_read(o, bad[i].vaddr, page, bad[i].pages, NULL) < 0, e);
	}
	MUST_E(store_data_pages(s) == 0 && blocks(o) == 0, e);
	MUST_E(store_write(o, END - PG, page, 1, &e) == 0, e);
	MUST_E(store_state(o, END - PG) == PAGE_DATA, e);
	MUST_E(store_write(o, 0, page, 0, &e) == 0, e);
	store_drop(o, 0, END / PG);
	MUST_E(store_data_pages(s) == 0 && blocks(o) == 0, e);
}

static void objects(struct store *s)
{
	MUST_E(!store_obj(s, obj_of_task(4711), false), e);
	for (uint64_t i = 2; i < 600; i++)
		MUST_E(store_obj(s, i, true), e);
	for (uint64_t i = 2; i < 600; i++)
		MUST_E(store_obj(s, i, false) && store_obj(s, i, true) == store_obj(s, i, false),
		       e);
	MUST_E(store_obj(s, obj_of_task(7), true) != store_obj(s, obj_of_shmem(7), true), e);
}

/* One page every 16 MiB of 1 TiB. */
static void sparse(struct store *s)
{
	struct sobj *o = store_obj(s, obj_of_task(900), true);
	uint64_t page[PG / 8], t0 = now_us();
	enum page_state st;
	AUTO(runs) struct runs keep = { 0 };

	for (uint64_t i = 0; i < 65536; i++) {
		fill(page, i + 1);
		MUST_E(store_write(o, i << 24, page, 1, &e) == 0, e);
	}
	MUST_E(blocks(o) == 65536, e);
	for (uint64_t i = 0; i < 65536; i++) {
		MUST_E(store_read(o, i << 24, page, 1, &e) == 0, e);
		MUST_E(is(page, i + 1), e);
		MUST_E(store_span(o, i << 24, 100, &st) == 1 && st == PAGE_DATA, e);
		MUST_E(store_span(o, (i << 24) + PG, 100, &st) > 0 && st == PAGE_ABSENT, e);
	}
	MUST_E(runs_add(&keep, 5 << 24, 1) == 0 && runs_add(&keep, 9 << 24, 4) == 0, e);
	store_keep_only(o, &keep);
	store_sweep(s);
	MUST_E(store_data_pages(s) == 2 && blocks(o) == 2, e);
	MUST_E(store_read(o, 9 << 24, page, 1, &e) == 0 && is(page, 10), e);
	MUST_E(store_read(o, 9 << 24, page, 2, NULL) == -ENODATA, e);
	MUST_E(store_read(o, 8 << 24, page, 1, NULL) == -ENODATA, e);
	store_drop(o, 0, 1ULL << 28);
	MUST_E(store_data_pages(s) == 0, e);
	printf("1 TiB with 65536 pages: %llu ms\n", (unsigned long long)(now_us() - t0) / 1000);
}

struct worker {
	struct store *s;
	struct sobj *o;
	unsigned int n;
	uint64_t seed;
	uint32_t id[PAGES]; /* 0 absent, 1 zero, else content */
};

/* Each thread owns every fourth group of seven pages, so runs of threads are neighbours. */
static bool mine(const struct worker *w, size_t i)
{
	return i / 7 % THREADS == w->n;
}

static void check_page(struct worker *w, size_t i, uint64_t *buf)
{
	uint64_t at = 0x7f0000000000ULL + i * PG;
	enum page_state want = w->id[i] == 0 ? PAGE_ABSENT : w->id[i] == 1 ? PAGE_ZERO : PAGE_DATA;

	MUST_E(store_state(w->o, at) == want, e);
	if (want == PAGE_ABSENT)
		return;
	MUST_E(store_read(w->o, at, buf, 1, &e) == 0, e);
	MUST_E(is(buf, w->id[i] == 1 ? 0 : w->id[i]), e);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t *buf = malloc(8 * PG), s = w->seed;

	for (unsigned int k = 0; k < 40000; k++) {
		size_t i = rnd(&s) % PAGES, n = 1;
		uint64_t at = 0x7f0000000000ULL + i * PG;

		if (!mine(w, i))
			continue;
		while (n < 7 && i + n < PAGES && mine(w, i + n) && rnd(&s) % 4)
			n++;
		switch (rnd(&s) % 8) {
		case 0:
			MUST_E(store_zero(w->o, at, n, &e) == 0, e);
			for (size_t q = 0; q < n; q++)
				w->id[i + q] = 1;
			break;
		case 1:
			store_drop(w->o, at, n);
			for (size_t q = 0; q < n; q++)
				w->id[i + q] = 0;
			break;
		case 2:
		case 3:
		case 4:
			for (size_t q = 0; q < n; q++) {
				w->id[i + q] = 2 + (uint32_t)(rnd(&s) >> 33);
				fill(buf + q * PG / 8, w->id[i + q]);
			}
			MUST_E(store_write(w->o, at, buf, n, &e) == 0, e);
			break;
		default:
			check_page(w, i, buf);
		}
	}
	for (size_t i = 0; i < PAGES; i++)
		if (mine(w, i))
			check_page(w, i, buf);
	free(buf);
	return NULL;
}

static void threads(struct store *s, uint64_t seed)
{
	pthread_t th[THREADS];
	struct worker *w = calloc(THREADS, sizeof(*w));
	struct sobj *o = store_obj(s, obj_of_task(901), true);
	uint64_t data = 0;

	for (unsigned int n = 0; n < THREADS; n++) {
		w[n].s = s;
		w[n].o = o;
		w[n].n = n;
		w[n].seed = seed + n;
		MUST_E(pthread_create(&th[n], NULL, work, &w[n]) == 0, e);
	}
	for (unsigned int n = 0; n < THREADS; n++)
		pthread_join(th[n], NULL);
	for (size_t i = 0; i < PAGES; i++)
		data += w[i / 7 % THREADS].id[i] > 1;
	MUST_E(store_data_pages(s) == data && blocks(o) == data, e);
	MUST_E(store_peak_pages(s) >= data, e);
	store_drop(o, 0x7f0000000000ULL, PAGES);
	MUST_E(store_data_pages(s) == 0 && blocks(o) == 0, e);
	free(w);
}

static void *sweeper(void *arg)
{
	store_sweep(arg);
	return NULL;
}

/* Stale pages are swept while someone else drops the same ones. */
static void stale(struct store *s)
{
	struct sobj *o = store_obj(s, obj_of_task(903), true);
	uint64_t page[PG / 8];
	AUTO(runs) struct runs keep = { 0 };
	enum page_state st;
	pthread_t th[2];

	for (uint64_t i = 0; i < PAGES; i++) {
		fill(page, i + 1);
		MUST_E(store_write(o, i * PG, page, 1, &e) == 0, e);
		if (i % 5 == 0)
			MUST_E(runs_add(&keep, i * PG, 1) == 0, e);
	}
	store_keep_only(o, &keep);
	MUST_E(store_data_pages(s) == PAGES, e); /* not given back yet */
	MUST_E(store_state(o, PG) == PAGE_ABSENT && store_state(o, 0) == PAGE_DATA, e);
	MUST_E(store_span(o, PG, 9, &st) == 4 && st == PAGE_ABSENT, e);
	MUST_E(store_read(o, PG, page, 1, NULL) == -ENODATA, e);
	for (int k = 0; k < 2; k++)
		MUST_E(pthread_create(&th[k], NULL, sweeper, s) == 0, e);
	for (uint64_t i = 0; i < PAGES; i += 64)
		if (i / 64 % 3)
			store_drop(o, i * PG, 64);
	for (int k = 0; k < 2; k++)
		pthread_join(th[k], NULL);
	for (uint64_t i = 0; i < PAGES; i++)
		if (store_state(o, i * PG) == PAGE_DATA)
			MUST_E(store_read(o, i * PG, page, 1, &e) == 0 && is(page, i + 1), e);
	MUST_E(store_data_pages(s) == blocks(o), e);
	store_drop(o, 0, PAGES);
	MUST_E(store_data_pages(s) == 0 && blocks(o) == 0, e);
}

static void speed(struct store *s)
{
	struct sobj *o = store_obj(s, obj_of_task(902), true);
	size_t bytes = 128 * PG, total = 256u << 20;
	uint8_t *buf = malloc(bytes);

	memset(buf, 7, bytes);
	for (int round = 0; round < 2; round++) {
		uint64_t t0 = now_us();

		for (size_t at = 0; at < total; at += bytes)
			MUST_E(store_write(o, at, buf, bytes / PG, &e) == 0, e);
		printf("write %s, 512 KiB pieces: %.2f GB/s\n", round ? "again" : "new",
		       (double)total / 1e3 / (double)(now_us() - t0));
	}
	uint64_t t0 = now_us();

	store_drop(o, 0, total / PG);
	printf("drop: %.2f GB/s\n", (double)total / 1e3 / (double)(now_us() - t0));
	free(buf);
}

int main(void)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : (uint64_t)time(NULL);
	struct store *s = NULL;

	printf("SEED=%llu\n", (unsigned long long)seed);
	MUST_E(store_new(&s, &e) == 0, e);
	hostile(s);
	objects(s);
	sparse(s);
	threads(s, seed);
	stale(s);
	speed(s);
	store_free(s);
	store_free(NULL);
	return 0;
}
