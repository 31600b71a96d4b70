// SPDX-License-Identifier: GPL-2.0-or-later
/* turn.c - a fair lock (first come, first served) with a deadline and cancellation. */
#include "transport/priv.h"

#include <time.h>

#include "common/clock.h"

void turn_init(struct turn *t)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attr);
	pthread_condattr_destroy(&attr);
	t->taken = t->handed = false;
	t->waiting = 0;
}

void turn_fini(struct turn *t)
{
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
}

/* Return: false at the deadline */
static bool wait_change(struct turn *t, uint64_t deadline_us)
{
	struct timespec at = { .tv_sec = (time_t)(deadline_us / 1000000),
		               .tv_nsec = (long)(deadline_us % 1000000) * 1000 };

	if (deadline_us == DEADLINE_NEVER)
		return pthread_cond_wait(&t->changed, &t->lock) == 0;
	return pthread_cond_timedwait(&t->changed, &t->lock, &at) == 0;
}

/* The waiter that looks first after a hand-over takes it, so none is lost. */
static int wait_turn(struct turn *t, const bool *cancelled, uint64_t deadline_us)
{
	bool in_time = true;

	while (!t->handed) {
		if (__atomic_load_n(cancelled, __ATOMIC_RELAXED))
			return -ECANCELED;
		if (!in_time)
			return -ETIMEDOUT;
		in_time = wait_change(t, deadline_us);
	}
	t->handed = false;
	return 0;
}

int turn_take(struct turn *t, const bool *cancelled, uint64_t deadline_us)
{
	int r = 0;

	pthread_mutex_lock(&t->lock);
	if (t->taken) {
		t->waiting++;
		r = wait_turn(t, cancelled, deadline_us);
		t->waiting--;
	}
	t->taken = true;
	pthread_mutex_unlock(&t->lock);
	return r;
}

void turn_give(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	if (t->waiting) {
		t->handed = true;
		pthread_cond_signal(&t->changed);
	} else {
		t->taken = false;
	}
	pthread_mutex_unlock(&t->lock);
}

void turn_wake(struct turn *t)
{
	pthread_mutex_lock(&t->lock);
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}
