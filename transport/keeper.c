// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * keeper.c - one thread that answers the peer on channels where no thread reads or writes.
 *
 * SSH changes its keys after a number of bytes. The packet that makes a change due, and those
 * after it, wait in libssh until both sides have exchanged keys, and libssh does not say so.
 * If that packet were our last, no thread would read the answer, and the peer would wait for
 * ever. So this thread checks every channel regularly.
 */
#include "transport/priv.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "common/clock.h"

#define IDLE_MS   20
#define BUSY_MS   1 /* after something moved: the peer's next step is near */
#define PUMPS_MAX 64

static struct {
	pthread_mutex_t life; /* starting and stopping the thread */
	pthread_mutex_t lock; /* the list */
	struct chan *first;
	pthread_t thread;
	int stop;
} keeper = { .life = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .stop = -1 };

/* A thread that has the lock does our work. Return: did anything move? */
static bool look_after(struct chan *c)
{
	bool moved = false;

	if (pthread_mutex_trylock(&c->gate))
		return false;
	int busy = pthread_mutex_trylock(&c->ssh);

	pthread_mutex_unlock(&c->gate);
	if (busy)
		return false;
	for (int i = 0; i < PUMPS_MAX && chan_pump(c); i++)
		moved = true;
	chan_notify(c);
	chan_unlock(c);
	return moved;
}

static void *keep(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };
	int ms = IDLE_MS;

	while (poll(&p, 1, ms) <= 0) {
		bool moved = false;

		pthread_mutex_lock(&keeper.lock);
		for (struct chan *c = keeper.first; c; c = c->next)
			moved = look_after(c) || moved;
		pthread_mutex_unlock(&keeper.lock);
		ms = moved ? BUSY_MS : IDLE_MS;
	}
	return NULL;
}

/* Signals are left to the threads that handle them. */
static int start_thread(struct err *e)
{
	sigset_t all, old;

	keeper.stop = eventfd(0, EFD_CLOEXEC);
	if (keeper.stop < 0)
		return err_sys(e, "eventfd");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&keeper.thread, NULL, keep, &keeper.stop);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		auto_fd(&keeper.stop);
		keeper.stop = -1;
		return err_set(e, ERR_SYS, r, "no thread for the connections");
	}
	return 0;
}

static void stop_thread(void)
{
	uint64_t one = 1;
	ssize_t n = write(keeper.stop, &one, sizeof(one));

	(void)n;
	pthread_join(keeper.thread, NULL);
	auto_fd(&keeper.stop);
	keeper.stop = -1;
}

int keeper_add(struct chan *c, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&keeper.life);
	if (!keeper.first)
		r = start_thread(e);
	if (r == 0) {
		pthread_mutex_lock(&keeper.lock);
		c->next = keeper.first;
		keeper.first = c;
		pthread_mutex_unlock(&keeper.lock);
	}
	pthread_mutex_unlock(&keeper.life);
	return r;
}

void keeper_remove(struct chan *c)
{
	bool found = false;

	pthread_mutex_lock(&keeper.life);
	pthread_mutex_lock(&keeper.lock);
	for (struct chan **at = &keeper.first; *at; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			found = true;
			break;
		}
	}
	pthread_mutex_unlock(&keeper.lock);
	if (found && !keeper.first)
		stop_thread();
	pthread_mutex_unlock(&keeper.life);
}
