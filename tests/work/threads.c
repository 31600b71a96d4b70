// SPDX-License-Identifier: GPL-2.0-or-later
/* threads.c - 8 threads, each with own pages, a stack, thread-local data; one shared area. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/work/work.h"

#define THREADS	     8
#define PAGES	     2048
#define SHARED_PAGES 256

struct worker {
	unsigned int id;
	uint8_t *mem;
	uint32_t gen[PAGES];
	uint64_t ops, bad;
	unsigned int epoch; /* last verification it answered */
};

static struct worker workers[THREADS];
static __thread uint64_t tls_ops;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *shared;
static uint32_t shared_gen[SHARED_PAGES];
static unsigned int epoch;

static void check_own(struct worker *w, uint64_t stack_ops)
{
	for (size_t i = 0; i < PAGES; i++)
		w->bad += !stamp_ok(w->mem + i * PAGE, w->id, i, w->gen[i]);
	w->bad += tls_ops != stack_ops;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	volatile uint64_t stack_ops = 0;
	uint64_t x = w->id * 977 + 1;

	for (;;) {
		size_t p = next_random(&x) % PAGES, q = next_random(&x) % SHARED_PAGES;

		if (!stamp_ok(w->mem + p * PAGE, w->id, p, w->gen[p]))
			work_failed("thread %u page %zu", w->id, p);
		stamp_put(w->mem + p * PAGE, w->id, p, ++w->gen[p]);
		pthread_mutex_lock(&lock);
		if (!stamp_ok(shared + q * PAGE, 99, q, shared_gen[q]))
			work_failed("shared page %zu", q);
		stamp_put(shared + q * PAGE, 99, q, ++shared_gen[q]);
		pthread_mutex_unlock(&lock);
		tls_ops++;
		stack_ops = stack_ops + 1;
		w->ops++;
		unsigned int e = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);

		if (e != w->epoch) {
			check_own(w, stack_ops);
			__atomic_store_n(&w->epoch, e, __ATOMIC_RELEASE);
		}
		usleep(500);
	}
	return NULL;
}

static void verify(void)
{
	uint64_t bad = 0, ops = 0, before[THREADS];
	unsigned int e = epoch + 1, stuck = 0;

	__atomic_store_n(&epoch, e, __ATOMIC_RELEASE);
	for (int i = 0; i < THREADS; i++) {
		before[i] = workers[i].ops;
		for (int k = 0; k < 2000 && __atomic_load_n(&workers[i].epoch, __ATOMIC_ACQUIRE) != e;
		     k++)
			usleep(5000);
		stuck += __atomic_load_n(&workers[i].epoch, __ATOMIC_ACQUIRE) != e;
	}
	usleep(100000);
	for (int i = 0; i < THREADS; i++) {
		stuck += workers[i].ops <= before[i];
		bad += workers[i].bad;
		ops += workers[i].ops;
	}
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < SHARED_PAGES; i++)
		bad += !stamp_ok(shared + i * PAGE, 99, i, shared_gen[i]);
	pthread_mutex_unlock(&lock);
	work_report(bad == 0 && stuck == 0, "\"bad\": %llu, \"stuck\": %u, \"ops\": %llu",
		    (unsigned long long)bad, stuck, (unsigned long long)ops);
}

static uint8_t *area(size_t pages)
{
	return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int main(int argc, char **argv)
{
	pthread_t t;

	work_init(argc, argv);
	shared = area(SHARED_PAGES);
	for (size_t i = 0; i < SHARED_PAGES; i++)
		stamp_put(shared + i * PAGE, 99, i, 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		workers[i].id = i + 1;
		workers[i].mem = area(PAGES);
		for (size_t p = 0; p < PAGES; p++)
			stamp_put(workers[i].mem + p * PAGE, i + 1, p, 0);
		if (pthread_create(&t, NULL, run, &workers[i]))
			return 1;
	}
	work_ready();
	for (;;) {
		if (work_wanted())
			verify();
		usleep(10000);
	}
}
