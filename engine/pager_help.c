// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pager_help.c - a second pusher, from the other end. Programs that wait for faults
 * leave a CPU idle; this is what it is used for.
 *
 * It holds a family's lock for a few pages at a time, because the pager needs that lock
 * for writing before it sees a fault. It changes nothing but states of pages; what goes
 * wrong is left to the pager, which will meet it, too.
 *
 * Measured on 2 CPUs, 1 GiB, a program that writes 50,000 random pages a second: filled
 * at 2.0 GB/s instead of 1.3, at 90 % of its pace after 0.50 s instead of 0.71, for 10 %
 * more CPU time. A thread that only reads ahead gave 1.5 GB/s, one that only frees 1.3.
 */
#include "engine/pager.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define HELP_NICE   5 /* after the programs */
#define GRAIN_PAGES 8u
#define HELP_TURN   64u /* pieces, then a look around */
#define IDLE_NS     1000000 /* the rest waits for an event, which the pager reads */

struct piece {
	struct space *s;
	uint64_t orig;
	size_t pages;
};

/* Spaces end while nobody holds the lock. */
static bool still_there(const struct family *f, const struct space *s)
{
	for (const struct space *k = f->spaces; k; k = k->next)
		if (k == s)
			return space_serves(k);
	return false;
}

/* The last local pages of @s before where we were; the lock is held. */
static bool last_piece(struct space *s, struct piece *t)
{
	for (; s->help_chunk > 0; s->help_chunk--) {
		const struct pchunk *c = &s->chunk[s->help_chunk - 1];
		unsigned int end = PCHUNK_PAGES;

		if (!__atomic_load_n(&c->local, __ATOMIC_RELAXED))
			continue;
		while (end > 0 && __atomic_load_n(&c->st[end - 1], __ATOMIC_RELAXED) != P_LOCAL)
			end--;
		if (end == 0)
			continue;
		unsigned int first = (end - 1) / PIECE_PAGES * PIECE_PAGES;

		*t = (struct piece){ s, (c->first + first) << ENG_PAGE_SHIFT, end - first };
		return true;
	}
	return false;
}

static bool find_piece(struct family *f, struct piece *t)
{
	bool found = false;

	pthread_rwlock_rdlock(&f->lock);
	for (struct space *s = f->spaces; s && !found; s = s->next)
		if (space_serves(s) && __atomic_load_n(&s->local, __ATOMIC_RELAXED))
			found = last_piece(s, t);
	pthread_rwlock_unlock(&f->lock);
	return found;
}

/* Return: 0; -EAGAIN and others: let the pager have it */
static int fill_grain(struct family *f, const struct piece *t, size_t at, const uint8_t *buf)
{
	size_t n = t->pages - at < GRAIN_PAGES ? t->pages - at : GRAIN_PAGES;
	int r = -ESTALE;

	pthread_rwlock_rdlock(&f->lock);
	if (still_there(f, t->s))
		r = fill_pages(t->s, t->orig + at * ENG_PAGE_BYTES, n, buf + at * ENG_PAGE_BYTES,
		               KIND_LOCAL);
	pthread_rwlock_unlock(&f->lock);
	return r;
}

static void free_window(struct family *f, uint64_t orig)
{
	pthread_rwlock_rdlock(&f->lock);
	bool done = family_window_free(f, orig);

	pthread_rwlock_unlock(&f->lock);
	if (done)
		family_window_drop(f, orig);
}

static bool help(struct family *f, uint8_t *buf)
{
	struct piece t;
	int r = 0;

	if (!find_piece(f, &t))
		return false;
	size_t bytes = t.pages * ENG_PAGE_BYTES;

	if (pread(sobj_fd(f->so), buf, bytes, (off_t)t.orig) != (ssize_t)bytes)
		return false;
	for (size_t at = 0; at < t.pages && r == 0; at += GRAIN_PAGES)
		r = fill_grain(f, &t, at, buf);
	if (r == 0)
		free_window(f, t.orig);
	return r == 0;
}

/* There it would wait for the pager, and the kernel sees that later than it matters. */
static void keep_apart(const struct pager *p, const cpu_set_t *all, int *was)
{
	int cpu = __atomic_load_n(&p->cpu, __ATOMIC_RELAXED);
	cpu_set_t set = *all;

	if (cpu == *was || cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	*was = cpu;
	CPU_CLR((unsigned int)cpu, &set);
	if (CPU_COUNT(&set))
		sched_setaffinity(0, sizeof(set), &set);
}

static bool wait_for_push(struct pager *p)
{
	pthread_mutex_lock(&p->lock);
	while (!__atomic_load_n(&p->pushing, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE))
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return !__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE);
}

static bool over(struct pager *p)
{
	uint64_t remote = __atomic_load_n(&p->left_remote, __ATOMIC_RELAXED);

	pthread_mutex_lock(&p->lock);
	bool r = p->failed || __atomic_load_n(&p->stop, __ATOMIC_ACQUIRE) ||
	         __atomic_load_n(&p->left, __ATOMIC_RELAXED) <= remote;

	pthread_mutex_unlock(&p->lock);
	return r;
}

static void help_all(struct pager *p, uint8_t *buf)
{
	struct timespec idle = { .tv_nsec = IDLE_NS };
	cpu_set_t all;
	int was = -1;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		CPU_ZERO(&all);
	/* nothing enters the store during the push: once it is empty it stays so */
	while (!over(p)) {
		struct family *f = __atomic_load_n(&p->families, __ATOMIC_ACQUIRE);
		bool any = false;

		keep_apart(p, &all, &was);
		for (; f; f = f->next)
			for (unsigned int n = 0; n < HELP_TURN && help(f, buf); n++)
				any = true;
		if (!any)
			nanosleep(&idle, NULL);
	}
}

void *help_main(void *arg)
{
	struct pager *p = arg;
	uint8_t *buf = aligned_alloc(ENG_PAGE_BYTES, PIECE_PAGES * ENG_PAGE_BYTES);

	prctl(PR_SET_NAME, "haul-help");
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), HELP_NICE);
	if (buf && wait_for_push(p))
		help_all(p, buf);
	free(buf);
	/* only now is everything that we had a hand in done */
	__atomic_store_n(&p->help_over, true, __ATOMIC_RELEASE);
	__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
	pager_kick(p);
	return NULL;
}
