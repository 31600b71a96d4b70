/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * warm.h - keep something quick that is slow the first time. Who takes one of the kernel's percpu_rw_semaphores
 * for writing waits for an RCU grace period, 10 ms and more; who takes it soon afterwards does not. So a thread
 * takes it again and again, from before the stop on.
 */
#ifndef HAUL_WARM_H
#define HAUL_WARM_H

#include <pthread.h>
#include <stdbool.h>

/* All zero: nothing is kept warm. */
struct warm {
	pthread_t thread;
	bool on; /* the thread is to be joined */
	bool end; /* tells it to end; atomic */
	bool (*act)(void *arg); /* false: it is of no use */
	void *arg;
	unsigned int every_us;
};

/** warm_start() - call @act(@arg) every @every_us in a thread, until warm_end(). Harmless when it is on already */
void warm_start(struct warm *w, bool (*act)(void *arg), void *arg, unsigned int every_us);
/** warm_end() - tell the thread to end, without waiting for it: warm_stop() has to follow */
void warm_end(struct warm *w);
/** warm_stop() - end it, and wait for that; harmless when it is not on */
void warm_stop(struct warm *w);

#endif
