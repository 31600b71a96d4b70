/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crew.c - worker threads that the main thread can park between two turns. */
#include "work.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define SLICE_MS 100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go = PTHREAD_COND_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_t threads[CREW_MAX];
static unsigned members, parked_now;
static atomic_bool want_park, want_stop;

/**
 * crew_start() - start the threads; the workload's signals stay with the main thread
 * @first_arg: an array, one element of @arg_bytes for each thread
 */
void crew_start(unsigned count, void *(*run)(void *), void *first_arg, size_t arg_bytes)
{
	sigset_t all, old;
	char *arg = first_arg;

	if (count > CREW_MAX)
		work_die("at most %d threads", CREW_MAX);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (members = 0; members < count; members++, arg += arg_bytes) {
		int err = pthread_create(&threads[members], NULL, run, arg);

		if (err)
			work_die("cannot start thread %u: %s", members, strerror(err));
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/**
 * crew_turn() - a worker calls it once a turn; it waits here while parked
 * @parked: called once when the thread parks, before it counts as parked; may be NULL
 * Return: false when the thread shall end
 */
bool crew_turn(void (*parked)(void *), void *arg)
{
	if (!atomic_load_explicit(&want_park, memory_order_acquire))
		return !atomic_load_explicit(&want_stop, memory_order_relaxed);
	if (parked)
		parked(arg);
	pthread_mutex_lock(&lock);
	parked_now++;
	pthread_cond_signal(&changed);
	while (atomic_load(&want_park))
		pthread_cond_wait(&go, &lock);
	parked_now--;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return !atomic_load(&want_stop);
}

/**
 * crew_park() - bring every thread to a halt between two turns
 * @limit_s: counted in short waits, so that a jump of the clock does not end it
 * Return: false when a thread does not answer; crew_release() is due all the same
 */
bool crew_park(unsigned limit_s)
{
	bool all;

	pthread_mutex_lock(&lock);
	atomic_store(&want_park, true);
	for (unsigned n = 0; parked_now < members && n < limit_s * 1000 / SLICE_MS;) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += SLICE_MS * 1000000L;
		ts.tv_sec += ts.tv_nsec / 1000000000L;
		ts.tv_nsec %= 1000000000L;
		n += pthread_cond_timedwait(&changed, &lock, &ts) != 0;
	}
	all = parked_now == members;
	pthread_mutex_unlock(&lock);
	return all;
}

void crew_release(void)
{
	pthread_mutex_lock(&lock);
	atomic_store(&want_park, false);
	pthread_cond_broadcast(&go);
	while (parked_now)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

void crew_stop(void)
{
	atomic_store(&want_stop, true);
	for (unsigned i = 0; i < members; i++)
		pthread_join(threads[i], NULL);
	members = 0;
}
