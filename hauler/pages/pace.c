// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pace.c - how fast the sender threads may go: a token bucket of bytes for all of them,
 * and a share of a CPU for the whole of haul.
 */
#include "hauler/pages/send.h"

#include <time.h>

#include "common/clock.h"

/* After a pause this many microseconds' worth of bytes may go at once. */
#define BURST_US 20000

/* The longest nap, so that a changed limit or a cancellation is noticed soon. */
#define NAP_US 20000

void pace_init(struct pace *p)
{
	*p = (struct pace){ .filled_us = now_us() };
	pthread_mutex_init(&p->lock, NULL);
}

void pace_fini(struct pace *p)
{
	pthread_mutex_destroy(&p->lock);
}

void pace_limit(struct pace *p, uint64_t Bps, unsigned int cpu_percent)
{
	pthread_mutex_lock(&p->lock);
	p->Bps = Bps;
	p->cpu_percent = cpu_percent;
	p->tokens = 0; /* no debt from the old limits */
	p->since_us = p->filled_us = now_us();
	p->since_cpu_us = now_cpu_us();
	pthread_mutex_unlock(&p->lock);
}

/* How long to wait before the next bytes may go. Lock is held. */
static uint64_t wait_us(struct pace *p)
{
	uint64_t now = now_us(), wait = 0;

	if (p->Bps) {
		double most = (double)p->Bps * BURST_US / 1e6;

		p->tokens += (double)p->Bps * (double)(now - p->filled_us) / 1e6;
		if (p->tokens > most)
			p->tokens = most;
		if (p->tokens < 0)
			wait = (uint64_t)(-p->tokens * 1e6 / (double)p->Bps) + 1;
	}
	p->filled_us = now;
	if (p->cpu_percent) {
		uint64_t used = (now_cpu_us() - p->since_cpu_us) * 100 / p->cpu_percent;
		uint64_t may = now - p->since_us + BURST_US;

		if (used > may && used - may > wait)
			wait = used - may;
	}
	return wait;
}

bool pace_nap(struct pace *p, uint64_t bytes)
{
	pthread_mutex_lock(&p->lock);
	uint64_t us = wait_us(p);

	if (us == 0 && p->Bps)
		p->tokens -= (double)bytes;
	pthread_mutex_unlock(&p->lock);
	if (us == 0)
		return false;
	us = us < NAP_US ? us : NAP_US;
	nanosleep(&(struct timespec){ 0, (long)us * 1000 }, NULL);
	return true;
}

void pace_correct(struct pace *p, uint64_t taken, uint64_t bytes)
{
	pthread_mutex_lock(&p->lock);
	if (p->Bps)
		p->tokens += (double)taken - (double)bytes;
	pthread_mutex_unlock(&p->lock);
}
