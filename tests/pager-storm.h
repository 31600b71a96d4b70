/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pager-storm.h - tasks that read, write, discard, unmap, move, protect and fork at
 * random; every page is compared with a model of what the program should see.
 */
#ifndef HAUL_PAGER_STORM_H
#define HAUL_PAGER_STORM_H

#include "tests/pager-lab.h"

#define PAGES 2048u
#define ROOM  4096u
#define FIXED 256u /* the last lazy pages: only read, by two more threads */
#define DEPTH 3u

struct model {
	struct lab *l;
	uint64_t s;
	uint32_t id[ROOM];
	uint8_t locked[ROOM]; /* without access */
	uint32_t next_id;
	unsigned int depth, kids;
	unsigned int ops[16];
};

static const char *const op_name[] = { "read",   "write",     "discard", "unmap",  "move",
	                               "grow",   "map",       "noacc",   "access", "fork",
	                               "shrink", "dontunmap", "end" };

static void bad(const struct model *m, size_t i, const char *where)
{
	const uint64_t *w = (const void *)(m->l->base + i * PG);

	fprintf(stderr,
	        "FAIL seed %llu depth %u pid %d %s: page %zu of %p should have id %u, has %llx "
	        "(first word of that id %llx)\n",
	        (unsigned long long)m->l->seed, m->depth, getpid(), where, i, (void *)m->l->base,
	        m->id[i], (unsigned long long)w[0], (unsigned long long)mix(m->id[i]));
	for (unsigned int k = 0; k < 12; k++)
		fprintf(stderr, "%s=%u ", op_name[k], m->ops[k]);
	fprintf(stderr, "\n");
	_exit(1);
}

static void check(const struct model *m, size_t i, const char *where)
{
	if (m->id[i] != ID_GONE && !m->locked[i] && !page_is(m->l->base + i * PG, m->id[i]))
		bad(m, i, where);
}

static void put(struct model *m, size_t i)
{
	if (m->id[i] == ID_GONE || m->locked[i])
		return;
	m->id[i] = m->next_id++;
	page_put(m->l->base + i * PG, m->id[i]);
}

/* A random range; all of it mapped (or all unmapped), not in the fixed part. */
static bool pick(struct model *m, size_t max, bool mapped, size_t *at, size_t *n)
{
	*at = rnd(&m->s) % ROOM;
	*n = 1 + rnd(&m->s) % max;
	if (*at + *n > ROOM)
		*n = ROOM - *at;
	for (size_t i = *at; i < *at + *n; i++)
		if ((i >= PAGES - FIXED && i < PAGES) || (m->id[i] != ID_GONE) != mapped ||
		    m->locked[i]) {
			*n = i - *at;
			break;
		}
	return *n > 0;
}

static void set(struct model *m, size_t at, size_t n, uint32_t id)
{
	for (size_t i = at; i < at + n; i++) {
		m->id[i] = id;
		m->locked[i] = 0;
	}
}

static void op_discard(struct model *m, size_t max)
{
	size_t at, n;

	if (!pick(m, max, true, &at, &n))
		return;
	LAB_CHECK(madvise(m->l->base + at * PG, n * PG, MADV_DONTNEED) == 0);
	set(m, at, n, ID_ZERO);
	check(m, at + rnd(&m->s) % n, "after discard");
}

static void op_unmap(struct model *m)
{
	size_t at, n;

	if (!pick(m, 64, true, &at, &n))
		return;
	LAB_CHECK(munmap(m->l->base + at * PG, n * PG) == 0);
	set(m, at, n, ID_GONE);
}

/* New memory where something was unmapped: no old page may come into it. */
static void op_map(struct model *m)
{
	size_t at, n;

	if (!pick(m, 256, false, &at, &n))
		return;
	LAB_CHECK(mmap(m->l->base + at * PG, n * PG, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
	               0) == m->l->base + at * PG);
	set(m, at, n, ID_ZERO);
}

/* To a place that may be mapped, perhaps longer or shorter than before. */
static void op_move(struct model *m, int change, int flags)
{
	size_t at, n, to = rnd(&m->s) % ROOM, len;
	uint32_t was[ROOM];

	if (!pick(m, 300, true, &at, &n))
		return;
	len = n;
	if (change > 0)
		len = n + 1 + rnd(&m->s) % 32;
	if (change < 0)
		len = 1 + rnd(&m->s) % n;
	size_t span = len > n ? len : n;

	if (to + span > ROOM || (to < at + span && at < to + span) ||
	    (to < PAGES && to + span > PAGES - FIXED))
		return;
	memcpy(was, m->id + at, n * sizeof(was[0]));
	if (mremap(m->l->base + at * PG, n * PG, len * PG, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
	           m->l->base + to * PG) == MAP_FAILED) {
		/* several mappings: the kernel has perhaps unmapped the place, or the tail */
		LAB_CHECK(errno == EFAULT || errno == EINVAL || errno == ENOMEM);
		if (munmap(m->l->base + to * PG, len * PG) == 0)
			set(m, to, len, ID_GONE);
		LAB_CHECK(munmap(m->l->base + at * PG, n * PG) == 0);
		set(m, at, n, ID_GONE);
		return;
	}
	set(m, to, len, ID_ZERO);
	set(m, at, n, flags & MREMAP_DONTUNMAP ? ID_ZERO : ID_GONE);
	memcpy(m->id + to, was, (n < len ? n : len) * sizeof(was[0]));
	check(m, to + rnd(&m->s) % len, "after move");
}

static void op_shrink(struct model *m)
{
	size_t at, n;

	if (!pick(m, 64, true, &at, &n) || n < 2)
		return;
	size_t len = 1 + rnd(&m->s) % (n - 1);

	if (mremap(m->l->base + at * PG, n * PG, len * PG, 0) == MAP_FAILED)
		return;
	set(m, at + len, n - len, ID_GONE);
}

static void op_protect(struct model *m, bool off)
{
	if (off) {
		size_t at, n;

		if (!pick(m, 32, true, &at, &n))
			return;
		LAB_CHECK(mprotect(m->l->base + at * PG, n * PG, PROT_NONE) == 0);
		memset(m->locked + at, 1, n);
		return;
	}
	for (size_t i = 0; i < ROOM; i++)
		if (m->locked[i]) {
			LAB_CHECK(mprotect(m->l->base + i * PG, PG, PROT_READ | PROT_WRITE) == 0);
			m->locked[i] = 0;
		}
}

static int run(struct model *m, unsigned int ops);

/* Some children check everything, some end in the middle, some become another program. */
static void op_fork(struct model *m)
{
	if (m->depth == DEPTH || m->kids == 4)
		return;
	pid_t pid = fork();

	LAB_CHECK(pid >= 0);
	m->kids++;
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	m->depth++;
	m->kids = 0;
	m->s ^= mix((uint64_t)m->next_id + m->depth);
	switch (rnd(&m->s) % 6) {
	case 0:
		_exit(0);
	case 1:
		execl("/bin/true", "true", (char *)NULL);
		_exit(0);
	case 2:
		run(m, 20);
		_exit(0);
	default:
		_exit(run(m, 150));
	}
}

static void step(struct model *m)
{
	static const uint8_t dice[] = { 0, 0, 0, 0, 0, 0, 1, 1, 1, 1,  2,  2, 3,
		                        4, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12 };
	unsigned int op = dice[rnd(&m->s) % sizeof(dice)];
	size_t i = rnd(&m->s) % ROOM;

	m->ops[op]++;
	switch (op) {
	case 0:
		check(m, i, "read");
		break;
	case 1:
		if (i < PAGES - FIXED || i >= PAGES)
			put(m, i);
		break;
	case 2:
		op_discard(m, 64);
		break;
	case 3:
		op_unmap(m);
		break;
	case 4:
		op_move(m, 0, 0);
		break;
	case 5:
		op_move(m, 1, 0);
		break;
	case 6:
		op_map(m);
		break;
	case 7:
	case 8:
		op_protect(m, op == 7);
		break;
	case 9:
		op_fork(m);
		break;
	case 10:
		op_shrink(m);
		break;
	case 11:
		op_move(m, 0, MREMAP_DONTUNMAP);
		break;
	default:
		op_move(m, -1, 0);
	}
}

static int run(struct model *m, unsigned int ops)
{
	int bad_kids = 0, st;

	for (unsigned int k = 0; k < ops; k++) {
		step(m);
		if (rnd(&m->s) % 16 == 0)
			usleep(rnd(&m->s) % 300);
	}
	op_protect(m, false);
	for (size_t i = 0; i < ROOM; i++)
		check(m, i, "end");
	while (wait(&st) > 0)
		bad_kids |= !WIFEXITED(st) || WEXITSTATUS(st);
	return bad_kids;
}

/* ---- threads that only read ---- */

struct reader {
	struct model *m;
	uint64_t s;
	bool stop;
};

static void *read_fixed(void *arg)
{
	struct reader *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		size_t i = PAGES - FIXED + rnd(&r->s) % FIXED;

		if (!page_is(r->m->l->base + i * PG, r->m->id[i]))
			bad(r->m, i, "reader");
		usleep(20);
	}
	return NULL;
}

static inline int storm(struct lab *l, unsigned int t)
{
	struct model *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
	                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct reader rd[2];
	pthread_t th[2];

	m->l = l;
	m->s = l->seed ^ mix(t + 1);
	m->next_id = 0x10000000;
	for (size_t i = 0; i < PAGES; i++)
		m->id[i] = (uint32_t)first_id(l, t, i);
	for (int k = 0; k < 2; k++) {
		rd[k] = (struct reader){ m, m->s + (uint64_t)k, false };
		LAB_CHECK(pthread_create(&th[k], NULL, read_fixed, &rd[k]) == 0);
	}
	int r = run(m, 1000);

	for (int k = 0; k < 2; k++) {
		__atomic_store_n(&rd[k].stop, true, __ATOMIC_RELEASE);
		pthread_join(th[k], NULL);
	}
	return r;
}

#endif
