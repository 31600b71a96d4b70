/* SPDX-License-Identifier: GPL-2.0-or-later */
/* threads.c - own areas, a shared area under a mutex, thread-local storage and stacks. */
#include "work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TLS_WORDS   1024
#define STACK_WORDS 2048
#define NAP_US      1000
#define WAIT_MS     100

struct hand {
	struct area area;
	struct rnd rnd;
	uint32_t number;
	pid_t tid;
	atomic_ullong turns;
	uint64_t turns_seen; /* by the watchdog */
	uint64_t tls_turns; /* what thread-local storage must say */
	unsigned idle_checks;
	struct report found; /* filled in by the thread itself when it parks */
};

static long mib = 16, rate = 8000, count = 8, stall_s = 60;
static const struct work_opt opts[] = {
	{ "--mib", "memory in MiB, half of it shared (16)", &mib, NULL, NULL },
	{ "--rate", "page writes per second (8000)", &rate, NULL, NULL },
	{ "--threads", "threads (8)", &count, NULL, NULL },
	{ "--stall-s", "a thread without progress that long is a fault (60)", &stall_s, NULL,
	  NULL },
	{ 0 },
};

static struct hand *hands;
static struct area shared;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t baton = PTHREAD_COND_INITIALIZER;
static uint32_t baton_at; /* whose turn it is; under shared_lock */

static _Thread_local uint64_t tls_turns;
static _Thread_local uint64_t tls_words[TLS_WORDS];
static _Thread_local uint64_t tls_start = 0x746c7321;

static uint64_t word_of(const struct hand *h, uint64_t turn, size_t k)
{
	return rnd_mix(turn ^ (uint64_t)h->number << 56 ^ k << 40);
}

static void check_own(struct hand *h, const uint64_t *stack, struct report *r)
{
	if (tls_start != 0x746c7321 || tls_turns != h->tls_turns)
		rep_error(r, "thread %u: thread-local storage says turn %lu, not %lu", h->number,
		          tls_turns, h->tls_turns);
	for (size_t k = 0; k < TLS_WORDS; k++) {
		if (tls_words[k] != word_of(h, tls_turns, k)) {
			rep_error(r, "thread %u: thread-local word %zu is wrong", h->number, k);
			break;
		}
	}
	for (size_t k = 0; k < STACK_WORDS; k++) {
		if (stack[k] != ~word_of(h, tls_turns, k)) {
			rep_error(r, "thread %u: stack word %zu is wrong", h->number, k);
			break;
		}
	}
	if (syscall(SYS_gettid) != h->tid)
		rep_error(r, "thread %u: tid changed from %d", h->number, (int)h->tid);
	if (r->errors)
		work_fail("in passing: %s", r->detail);
}

static void write_own(struct hand *h, uint64_t *stack)
{
	h->tls_turns = ++tls_turns;
	for (size_t k = 0; k < TLS_WORDS; k++)
		tls_words[k] = word_of(h, tls_turns, k);
	for (size_t k = 0; k < STACK_WORDS; k++)
		stack[k] = ~word_of(h, tls_turns, k);
}

static void write_shared(struct hand *h)
{
	pthread_mutex_lock(&shared_lock);
	shared.owner = (uint16_t)h->number;
	area_write(&shared, rnd_below(&h->rnd, shared.pages));
	if (baton_at == h->number) {
		baton_at = (baton_at + 1) % (uint32_t)count;
		pthread_cond_broadcast(&baton);
	}
	pthread_mutex_unlock(&shared_lock);
}

struct parking {
	struct hand *hand;
	const uint64_t *stack;
};

static void at_park(void *arg)
{
	struct parking *p = arg;

	memset(&p->hand->found, 0, sizeof(p->hand->found));
	check_own(p->hand, p->stack, &p->hand->found);
	area_verify(&p->hand->area, &p->hand->found);
}

static void *run(void *arg)
{
	struct hand *h = arg;
	uint64_t stack[STACK_WORDS];
	struct parking at = { h, stack };
	struct pace pace;

	h->tid = (pid_t)syscall(SYS_gettid);
	write_own(h, stack);
	pace_init(&pace, rate ? rate / count + 1 : 0);
	while (crew_turn(at_park, &at)) {
		struct report r = { 0 };
		unsigned due = pace_due(&pace);

		atomic_fetch_add(&h->turns, 1);
		if (!due || !work_may_write()) {
			work_nap_us(NAP_US);
			continue;
		}
		check_own(h, stack, &r);
		write_own(h, stack);
		for (unsigned i = 0; i < due && work_may_write(); i++) {
			if (i % 2)
				write_shared(h);
			else
				area_write(&h->area, rnd_below(&h->rnd, h->area.pages));
		}
		work_count(due);
	}
	return NULL;
}

/* One more thread: waits for the baton to come round, so that one always sits in a futex. */
static void *run_waiter(void *arg)
{
	struct hand *h = arg;

	while (crew_turn(NULL, NULL)) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += WAIT_MS * 1000000L;
		ts.tv_sec += ts.tv_nsec / 1000000000L;
		ts.tv_nsec %= 1000000000L;
		pthread_mutex_lock(&shared_lock);
		pthread_cond_timedwait(&baton, &shared_lock, &ts);
		pthread_mutex_unlock(&shared_lock);
		atomic_fetch_add(&h->turns, 1);
	}
	return NULL;
}

static void *run_any(void *arg)
{
	struct hand *h = arg;

	return h->number == (uint32_t)count ? run_waiter(arg) : run(arg);
}

static void verify(struct report *r)
{
	bool parked = crew_park(60);

	if (!parked)
		rep_error(r, "a thread does not answer");
	for (long t = 0; parked && t < count; t++) {
		char who[32];

		snprintf(who, sizeof(who), "thread %ld", t);
		rep_merge(r, &hands[t].found, who);
	}
	if (work_sabotage_due() == 5)
		hands[1].tls_turns++;
	else if (work_sabotage_due())
		area_sabotage(&shared, 1, work_sabotage_due());
	area_verify(&shared, r);
	rep_extra(r, ",\"threads\":%ld", count + 1);
	crew_release();
}

/* Called about every 100 ms: each thread must have turned since. */
static void watch(void)
{
	for (long t = 0; t <= count; t++) {
		struct hand *h = &hands[t];
		uint64_t turns = atomic_load(&h->turns);

		h->idle_checks = turns == h->turns_seen ? h->idle_checks + 1 : 0;
		h->turns_seen = turns;
		if (h->idle_checks > (unsigned)stall_s * 10)
			work_fail("thread %ld stands still since turn %lu", t, turns);
	}
}

int main(int argc, char **argv)
{
	size_t each;

	work_start(argc, argv, opts);
	if (count < 2 || count >= CREW_MAX || mib < 1)
		work_die("an option is out of range");
	each = (size_t)mib * MIB_PAGES / 2 / (size_t)count;
	hands = work_map(((size_t)count + 1) * sizeof(*hands) / PAGE_BYTES + 1);
	area_init(&shared, work_map((size_t)mib * MIB_PAGES / 2), (size_t)mib * MIB_PAGES / 2, 1000,
	          0);
	area_stamp_all(&shared);
	for (uint32_t t = 0; t <= (uint32_t)count; t++) {
		hands[t].number = t;
		hands[t].rnd.state = t;
		area_init(&hands[t].area, work_map(each), each, t, (uint16_t)t);
		area_stamp_all(&hands[t].area);
	}
	crew_start((unsigned)count + 1, run_any, hands, sizeof(*hands));
	work_ready();
	for (unsigned n = 0; work_poll(verify); n++) {
		work_nap_us(10000);
		if (n % 10 == 9)
			watch();
	}
	crew_stop();
	return 0;
}
