/* SPDX-License-Identifier: GPL-2.0-or-later */
/* churn.c - an address space that changes all the time, forks and a stack that grows. */
#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX  4
#define STACK_DEPTH   96
#define FRAME_PAGES   2
#define LIFE_TURNS_MS 1

static long mib = 48, rate = 3000, fork_rate = 5;
static bool no_fork, with_free;
static const struct work_opt opts[] = {
	{ "--mib", "regions of up to 1 MiB (48)", &mib, NULL, NULL },
	{ "--rate", "operations per second (3000)", &rate, NULL, NULL },
	{ "--forks", "one operation of a thousand times this forks (5)", &fork_rate, NULL, NULL },
	{ "--no-fork", "never fork", NULL, NULL, &no_fork },
	{ "--free", "use MADV_FREE as well", NULL, NULL, &with_free },
	{ 0 },
};

static pid_t children[CHILDREN_MAX];
static uint64_t op_count[32], forks, recursions;

/* Frames hold words of their own depth; the deepest one rests there for a while. */
static void __attribute__((noinline)) recurse(unsigned depth, uint64_t seed)
{
	volatile uint64_t frame[FRAME_PAGES * PAGE_WORDS];

	for (size_t k = 0; k < ARRAY_SIZE(frame); k += 8)
		frame[k] = rnd_mix(seed ^ depth << 16 ^ k);
	if (depth)
		recurse(depth - 1, seed);
	else
		work_nap_us((long)rnd_below(pool_rnd(), 5000));
	for (size_t k = 0; k < ARRAY_SIZE(frame); k += 8) {
		if (frame[k] != rnd_mix(seed ^ depth << 16 ^ k)) {
			work_fail("stack frame %u, word %zu is %016lx", depth, k, frame[k]);
			return;
		}
	}
}

static void __attribute__((noreturn)) check_and_exit(void)
{
	struct report r = { 0 };

	pool_verify(&r);
	if (r.bad_pages)
		work_fail("child %d: %s", (int)getpid(), r.detail);
	_exit(work_failed() ? 1 : 0);
}

/* Some children only look at what they inherited, others live and write for seconds. */
static void __attribute__((noreturn)) run_child(pid_t parent, bool live)
{
	uint64_t turns = live ? 1000 + rnd_below(pool_rnd(), 3000) : 0;

	work_child();
	pool_own((uint16_t)(2 + forks % 60000));
	while (turns-- && getppid() == parent && !work_failed()) {
		pool_write();
		if (turns % 16 == 0)
			pool_discard();
		work_nap_us(LIFE_TURNS_MS * 1000);
	}
	check_and_exit();
}

static void start_child(void)
{
	pid_t parent = getpid(), pid;
	size_t i = 0;

	while (i < CHILDREN_MAX && children[i])
		i++;
	if (i == CHILDREN_MAX)
		return;
	forks++;
	pid = fork();
	if (pid < 0)
		work_fail("fork: %s", strerror(errno));
	else if (!pid)
		run_child(parent, i < CHILDREN_MAX / 2);
	children[i] = pid > 0 ? pid : 0;
}

static void reap(bool wait)
{
	int status;

	for (size_t i = 0; i < CHILDREN_MAX; i++) {
		pid_t pid = children[i];

		if (!pid || waitpid(pid, &status, wait ? 0 : WNOHANG) == 0)
			continue;
		children[i] = 0;
		if (!wait && status)
			work_fail("child %d ended with status %x", (int)pid, (unsigned)status);
	}
}

static void run_one(void)
{
	static unsigned weights;
	uint64_t n;

	for (size_t i = weights ? pool_nr_ops : 0; i < pool_nr_ops; i++)
		weights += pool_ops[i].weight;
	n = rnd_below(pool_rnd(), 1000);
	if (n < (uint64_t)fork_rate && !no_fork) {
		start_child();
	} else if (n == 999) {
		recursions++;
		recurse((unsigned)rnd_below(pool_rnd(), STACK_DEPTH), rnd_next(pool_rnd()));
	} else {
		size_t i = 0;

		for (n = rnd_below(pool_rnd(), weights); n >= pool_ops[i].weight; i++)
			n -= pool_ops[i].weight;
		pool_ops[i].run();
		op_count[i]++;
	}
	work_count(1);
}

static void verify(struct report *r)
{
	unsigned living = 0;

	if (work_sabotage_due())
		pool_sabotage(work_sabotage_due());
	pool_verify(r);
	for (size_t i = 0; i < CHILDREN_MAX; i++)
		living += children[i] != 0;
	rep_extra(r, ",\"forks\":%lu,\"children\":%u,\"recursions\":%lu,\"pool_pages\":%zu", forks,
	          living, recursions, pool_pages());
	for (size_t i = 0; i < pool_nr_ops; i++)
		rep_extra(r, ",\"%s\":%lu", pool_ops[i].name, op_count[i]);
}

int main(int argc, char **argv)
{
	struct pace pace;

	work_start(argc, argv, opts);
	if (mib < 4 || mib > 4096 || fork_rate > 500)
		work_die("an option is out of range");
	pool_init((size_t)mib, with_free);
	work_ready();
	pace_init(&pace, rate);
	while (work_poll(verify)) {
		unsigned due = pace_due(&pace);

		if (!due || !work_may_write())
			work_nap_us(500);
		while (due-- && work_may_write())
			run_one();
		reap(false);
	}
	for (size_t i = 0; i < CHILDREN_MAX; i++) {
		if (children[i])
			kill(children[i], SIGKILL);
	}
	reap(true);
	return 0;
}
