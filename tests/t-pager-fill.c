// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-fill.c - four threads read every page at random and write a share of them,
 * while pages come from the store, from the source unasked, or only when asked for.
 */
#include "tests/pager-lab.h"

#define PAGES   4096u
#define THREADS 4u
#define HANG_MS 120000

struct reader {
	struct lab *l;
	unsigned int t, k;
	uint64_t s;
	uint16_t order[PAGES];
};

/* Every 16th page is written by one of the threads; the others are never changed. */
static bool mine(const struct reader *r, size_t i)
{
	return i % 16 == 0 && i / 16 % THREADS == r->k;
}

static void *read_all(void *arg)
{
	struct reader *r = arg;
	uint8_t *base = r->l->base;

	for (size_t i = 0; i < PAGES; i++) {
		size_t k = rnd(&r->s) % (i + 1);

		r->order[i] = r->order[k];
		r->order[k] = (uint16_t)i;
	}
	for (size_t n = 0; n < PAGES; n++) {
		size_t i = r->order[n];

		if (i % 16 && !page_is(base + i * PG, first_id(r->l, r->t, i)))
			LAB_DIE("seed %llu: page %zu is wrong", (unsigned long long)r->l->seed, i);
		if (!mine(r, i))
			continue;
		/* half of them are written without a look at them */
		if (i % 32 && !page_is(base + i * PG, first_id(r->l, r->t, i)))
			LAB_DIE("seed %llu: page %zu is wrong", (unsigned long long)r->l->seed, i);
		page_put(base + i * PG, 0x70000000 + i);
	}
	for (size_t i = 0; i < PAGES; i++)
		if (mine(r, i) && !page_is(base + i * PG, 0x70000000 + i))
			LAB_DIE("seed %llu: what was written to page %zu is lost",
			        (unsigned long long)r->l->seed, i);
	return NULL;
}

static int readers(struct lab *l, unsigned int t)
{
	static struct reader r[THREADS];
	pthread_t th[THREADS];

	for (unsigned int k = 0; k < THREADS; k++) {
		r[k].l = l;
		r[k].t = t;
		r[k].k = k;
		r[k].s = l->seed ^ mix(k + 7 * t);
		LAB_CHECK(pthread_create(&th[k], NULL, read_all, &r[k]) == 0);
	}
	for (unsigned int k = 0; k < THREADS; k++)
		pthread_join(th[k], NULL);
	return 0;
}

static void one(uint64_t seed, unsigned int mask, unsigned int max_run, bool only_asked)
{
	struct lab l;
	struct err e = ERR_INIT;
	struct pager_stats st;

	lab_new(&l, seed, PAGES, PAGES + 1);
	lab_classes(&l, mask, max_run);
	l.only_asked = only_asked;
	l.delay_us = only_asked ? 0 : 50;
	lab_fork(&l, 2, readers);
	lab_start(&l);
	lab_source_start(&l);
	lab_resume(&l);
	if (lab_join(&l, HANG_MS) || pager_wait(l.pager, deadline_in_ms(HANG_MS), &e) < 0)
		LAB_DIE("seed %llu: %s", (unsigned long long)seed, e.msg);
	pager_get_stats(l.pager, &st);
	lab_source_stop(&l);
	if (st.left_pages || st.procs_live || store_data_pages(l.store) ||
	    l.asked_sum > st.faults_remote || st.faults_remote > st.faults)
		LAB_DIE("left %llu, procs %u, stored %llu, asked %zu, faults %llu remote %llu",
		        (unsigned long long)st.left_pages, st.procs_live,
		        (unsigned long long)store_data_pages(l.store), l.asked_sum,
		        (unsigned long long)st.faults, (unsigned long long)st.faults_remote);
	printf("classes %#x, runs %u%s: %llu faults, %llu remote, p50 %u us, p99 %u us\n", mask,
	       max_run, only_asked ? ", only asked" : "", (unsigned long long)st.faults,
	       (unsigned long long)st.faults_remote, st.fault_p50_us, st.fault_p99_us);
	lab_free(&l);
}

int main(void)
{
	uint64_t seed = lab_seed(), until = now_us() + lab_seconds(6) * 1000000ULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint64_t k = 0; now_us() < until; k++) {
		one(seed + k, BIT(C_N) - 1, 1 + (unsigned int)(k * 13 % 60), false);
		one(seed + k, BIT(C_LOCAL), 1, false);
		one(seed + k, BIT(C_REMOTE) | BIT(C_REMOTE_ZERO) | BIT(C_LOCAL), 8, true);
	}
	return 0;
}
