/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock.h - monotonic time and deadlines; every wait takes one. */
#ifndef HAUL_CLOCK_H
#define HAUL_CLOCK_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/** now_wall_ms() - milliseconds since 1970, for people and files; never for a deadline */
static inline uint64_t now_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A deadline is a point of CLOCK_MONOTONIC in microseconds; this one is never. */
#define DEADLINE_NEVER UINT64_MAX

static inline uint64_t deadline_in_ms(uint64_t ms)
{
	return now_us() + ms * 1000;
}

/* A timeout for poll(2), rounded up: -1 for never, 0 when the deadline has passed. */
static inline int deadline_poll_ms(uint64_t deadline_us)
{
	if (deadline_us == DEADLINE_NEVER)
		return -1;
	uint64_t now = now_us();

	if (now >= deadline_us)
		return 0;
	uint64_t ms = (deadline_us - now + 999) / 1000;

	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/** now_cpu_us() - CPU time of this process, which does not depend on how busy the machine is */
static inline uint64_t now_cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/** now_thread_us() - the same of this thread */
static inline uint64_t now_thread_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

#endif
