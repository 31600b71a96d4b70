// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-moves.c - threads that let the kernel choose where their memory moves, as
 * realloc() does: what one has left, another takes at once, while events about both
 * are still under way. Other threads fault, discard and unmap meanwhile.
 */
#include "tests/pager-lab.h"

#define THREADS 4u
#define AREA    256u /* pages of a thread at the start */
#define MOVES   150u
#define HANG_MS 120000

struct mover {
	struct lab *l;
	uint8_t *at;
	size_t pages, first; /* first: lazy page that is at @at */
	unsigned int t;
	uint64_t s;
};

static void verify(const struct mover *m, size_t i, const char *where)
{
	uint64_t id = i < AREA ? first_id(m->l, m->t, m->first + i) : ID_ZERO;

	if (!page_is(m->at + i * PG, id))
		LAB_DIE("seed %llu, %s: page %zu of %zu, thread %zu, first word %llx, should be "
		        "%llx",
		        (unsigned long long)m->l->seed, where, i, m->pages, m->first / AREA,
		        *(unsigned long long *)(m->at + i * PG), (unsigned long long)mix(id));
}

/* Grows so that it has to move, or shrinks; what was cut off must come back as zero. */
static void *mover(void *arg)
{
	struct mover *m = arg;

	for (unsigned int k = 0; k < MOVES; k++) {
		size_t pages = AREA + rnd(&m->s) % 64;
		uint8_t *to = mremap(m->at, m->pages * PG, pages * PG, MREMAP_MAYMOVE);

		if (to == MAP_FAILED)
			LAB_DIE("mremap: %s", strerror(errno));
		m->at = to;
		m->pages = pages;
		for (unsigned int n = rnd(&m->s) % 4; n; n--)
			verify(m, rnd(&m->s) % pages, "after a move");
		if (rnd(&m->s) % 8 == 0)
			usleep(rnd(&m->s) % 100);
	}
	for (size_t i = 0; i < m->pages; i++)
		verify(m, i, "at the end");
	return NULL;
}

/* Keeps the kernel's choice of addresses moving. */
static void *mapper(void *arg)
{
	struct mover *m = arg;

	for (unsigned int k = 0; k < 2 * MOVES; k++) {
		size_t pages = AREA + rnd(&m->s) % 64;
		uint8_t *p = mmap(NULL, pages * PG, PROT_READ | PROT_WRITE,
		                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		LAB_CHECK(p != MAP_FAILED);
		for (unsigned int n = rnd(&m->s) % 4; n; n--) {
			size_t i = rnd(&m->s) % pages;

			if (!page_is(p + i * PG, ID_ZERO))
				LAB_DIE("a new mapping is not zero");
		}
		LAB_CHECK(munmap(p, pages * PG) == 0);
	}
	return NULL;
}

static int moves(struct lab *l, unsigned int t)
{
	pthread_t th[THREADS + 1];
	struct mover m[THREADS + 1];

	for (size_t k = 0; k < THREADS; k++) {
		m[k] = (struct mover){ .l = l,
			               .at = l->base + k * AREA * PG,
			               .pages = AREA,
			               .first = k * AREA,
			               .t = t,
			               .s = l->seed ^ mix(k + 10 * t) };
		LAB_CHECK(pthread_create(&th[k], NULL, mover, &m[k]) == 0);
	}
	m[THREADS] = (struct mover){ .l = l, .s = l->seed ^ mix(99) };
	LAB_CHECK(pthread_create(&th[THREADS], NULL, mapper, &m[THREADS]) == 0);
	for (size_t k = 0; k <= THREADS; k++)
		pthread_join(th[k], NULL);
	return 0;
}

int main(void)
{
	uint64_t seed = lab_seed(), until = now_us() + lab_seconds(6) * 1000000ULL;
	unsigned int rounds = 0;

	for (; now_us() < until; rounds++) {
		struct lab l;
		struct err e = ERR_INIT;

		lab_new(&l, seed + rounds, THREADS * AREA, THREADS * AREA + 1);
		lab_classes(&l, BIT(C_N) - 1, 30);
		l.delay_us = 100;
		l.late_rounds = 1;
		lab_fork(&l, 1, moves);
		lab_start(&l);
		lab_source_start(&l);
		lab_resume(&l);
		if (lab_join(&l, HANG_MS) || pager_wait(l.pager, deadline_in_ms(HANG_MS), &e) < 0) {
			printf("FAIL with SEED=%llu %s\n", (unsigned long long)(seed + rounds),
			       e.msg);
			return 1;
		}
		lab_source_stop(&l);
		lab_free(&l);
	}
	printf("%u rounds\n", rounds);
	return 0;
}
