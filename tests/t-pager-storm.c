// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-storm.c - tasks that do everything to their memory while their pages come from
 * everywhere; every page is compared with a model of what the program would have seen
 * without any migration.
 */
#include "tests/pager-storm.h"

#define HANG_MS 120000

static int round_of(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;
	uint64_t s = seed;

	lab_new(&l, seed, PAGES, ROOM);
	lab_classes(&l, BIT(C_N) - 1, 1 + (unsigned int)(rnd(&s) % 40));
	l.delay_us = (unsigned int)(rnd(&s) % 400);
	l.late_rounds = 3;
	lab_fork(&l, 2, storm);
	lab_start(&l);
	lab_source_start(&l);
	if (rnd(&s) % 2)
		usleep(rnd(&s) % 5000); /* pages that come before the commit */
	lab_resume(&l);
	int bad_tasks = lab_join(&l, HANG_MS);

	if (!bad_tasks && pager_wait(l.pager, deadline_in_ms(HANG_MS), &e) < 0) {
		fprintf(stderr, "pager_wait: %s\n", e.msg);
		bad_tasks = 1;
	}
	struct pager_stats st;

	pager_get_stats(l.pager, &st);
	if (!bad_tasks &&
	    (st.left_pages || st.left_remote_pages || st.procs_live || store_data_pages(l.store))) {
		fprintf(stderr, "left %llu remote %llu procs %u stored %llu\n",
		        (unsigned long long)st.left_pages, (unsigned long long)st.left_remote_pages,
		        st.procs_live, (unsigned long long)store_data_pages(l.store));
		bad_tasks = 1;
	}
	lab_source_stop(&l);
	lab_free(&l);
	return bad_tasks;
}

int main(void)
{
	uint64_t seed = lab_seed(), until = now_us() + lab_seconds(8) * 1000000ULL;
	unsigned int rounds = 0;

	while (now_us() < until) {
		if (round_of(seed + rounds)) {
			printf("FAIL with SEED=%llu\n", (unsigned long long)(seed + rounds));
			return 1;
		}
		rounds++;
	}
	printf("%u rounds\n", rounds);
	return 0;
}
