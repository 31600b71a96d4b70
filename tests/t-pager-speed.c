// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-speed.c - a writer of random pages is resumed with all its pages in the
 * store: how long faults take, how fast the rest is filled, when it is at its pace.
 * Prints figures; fails only on wrong content or when something hangs.
 * PAGES, RATE (pages written a second; 0: as fast as it can), THREADS.
 */
#include "tests/pager-lab.h"

#define SLICE_MS 20u
#define SLICES   500u
#define HANG_MS  60000

struct shared {
	uint64_t start_us;
	uint64_t writes[SLICES];
	bool stop;
};

static struct shared *sh;
static uint64_t rate = 50000, n_threads = 1;
static uint8_t *written; /* shared: the first word of these pages is the writer's */

static uint64_t env(const char *name, uint64_t dflt)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : dflt;
}

struct arg {
	struct lab *l;
	uint64_t s;
};

static void *write_pages(void *arg)
{
	struct arg *a = arg;
	uint64_t tick = sh->start_us, per_ms = rate / n_threads / 1000;

	while (!__atomic_load_n(&sh->stop, __ATOMIC_ACQUIRE)) {
		for (uint64_t k = 0; k < (rate ? per_ms : 50); k++) {
			size_t i = rnd(&a->s) % a->l->pages;

			__atomic_store_n((uint64_t *)(a->l->base + i * PG), a->s, __ATOMIC_RELAXED);
			written[i] = 1;
			uint64_t at = (now_us() - sh->start_us) / (SLICE_MS * 1000);

			if (at < SLICES)
				__atomic_add_fetch(&sh->writes[at], 1, __ATOMIC_RELAXED);
		}
		if (!rate)
			continue;
		tick += 1000;
		uint64_t now = now_us();

		/* what was missed is not made up for */
		if (now > tick)
			tick = now;
		else
			usleep((useconds_t)(tick - now));
	}
	return NULL;
}

static int writer(struct lab *l, unsigned int t)
{
	pthread_t th[16];
	struct arg a[16];

	prctl(PR_SET_TIMERSLACK, 1);
	for (uint64_t k = 0; k < n_threads; k++) {
		a[k] = (struct arg){ l, l->seed + k };
		LAB_CHECK(pthread_create(&th[k], NULL, write_pages, &a[k]) == 0);
	}
	for (uint64_t k = 0; k < n_threads; k++)
		pthread_join(th[k], NULL);
	for (size_t i = 0; i < l->pages; i++) {
		uint64_t want[PG / 8];

		page_put(want, first_id(l, t, i));
		if (memcmp((uint8_t *)want + 8, l->base + i * PG + 8, PG - 8) ||
		    (!written[i] && memcmp(want, l->base + i * PG, 8)))
			LAB_DIE("page %zu is wrong", i);
	}
	return 0;
}

static uint64_t at_pace_ms(void)
{
	uint64_t want = rate * SLICE_MS / 1000 * 9 / 10;

	/* the first slice from which on all of a tenth of a second are at pace */
	for (size_t i = 0; i + 5 < SLICES; i++) {
		bool ok = true;

		for (size_t k = i; k < i + 5; k++)
			ok &= sh->writes[k] >= want;
		if (ok)
			return (i + 1) * SLICE_MS;
	}
	return SLICES * SLICE_MS;
}

/* Return: most pages that were in the store although they were in place */
static uint64_t watch(struct lab *l, uint64_t *filled_us)
{
	uint64_t peak = 0, until = deadline_in_ms(HANG_MS);
	struct err e = ERR_INIT;
	struct pager_stats st;

	while (pager_wait(l->pager, deadline_in_ms(2), &e) == -ETIMEDOUT && now_us() < until) {
		pager_get_stats(l->pager, &st);
		uint64_t held = store_data_pages(l->store);

		if (held > st.left_pages && held - st.left_pages > peak)
			peak = held - st.left_pages;
		err_clear(&e);
	}
	*filled_us = now_us();
	return peak;
}

/* CPU time of the pager's threads: a figure that a busy machine does not spoil. */
static void print_cpu(void)
{
	AUTO(dir) DIR *d = opendir("/proc/self/task");
	struct dirent *t;

	while (d && (t = readdir(d))) {
		char path[300], comm[64] = "";
		unsigned long long ns = 0;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", t->d_name);
		AUTO(file) FILE *f = fopen(path, "r");
		snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", t->d_name);
		AUTO(file) FILE *g = fopen(path, "r");

		if (f && g && fscanf(f, "%63s", comm) == 1 && fscanf(g, "%llu", &ns) == 1 &&
		    strncmp(comm, "haul-", 5) == 0)
			printf("%s: %llu ms of CPU\n", comm, ns / 1000000);
	}
}

int main(void)
{
	struct lab l;
	struct pager_stats st;
	size_t pages = env("PAGES", 262144);
	uint64_t filled_us;

	rate = env("RATE", 50000);
	n_threads = env("THREADS", 1);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	written = mmap(NULL, pages, PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	lab_new(&l, lab_seed(), pages, pages + 1);
	memset(l.class, C_LOCAL, pages);
	lab_fork(&l, 1, writer);
	lab_start(&l);
	sh->start_us = now_us();
	lab_resume(&l);
	uint64_t extra = watch(&l, &filled_us);

	usleep(200000);
	__atomic_store_n(&sh->stop, true, __ATOMIC_RELEASE);
	int bad = lab_join(&l, HANG_MS);

	print_cpu();
	pager_get_stats(l.pager, &st);
	double s = (double)(filled_us - sh->start_us) / 1e6;

	printf("filled %.0f MiB in %.3f s: %.2f GB/s; store beyond need at most %.1f MiB\n",
	       (double)pages / 256, s, (double)pages * PG / 1e9 / s, (double)extra / 256);
	printf("faults %llu: p50 %u us, p99 %u us, max %u us\n", (unsigned long long)st.faults,
	       st.fault_p50_us, st.fault_p99_us, st.fault_max_us);
	if (rate)
		printf("at 90 %% of %llu pages/s after %llu ms\n", (unsigned long long)rate,
		       (unsigned long long)at_pace_ms());
	printf("writes in the first slices of %u ms:", SLICE_MS);
	for (size_t i = 0; i < 40; i++)
		printf(" %llu", (unsigned long long)sh->writes[i]);
	printf("\n");
	lab_free(&l);
	return bad || filled_us - sh->start_us > HANG_MS * 1000ULL;
}
