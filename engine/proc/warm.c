// SPDX-License-Identifier: GPL-2.0-or-later
/* warm.c - keep something quick that is slow the first time. */
#include "engine/proc/warm.h"

#include <unistd.h>

static void *warm_main(void *arg)
{
	struct warm *w = arg;

	while (!__atomic_load_n(&w->end, __ATOMIC_ACQUIRE) && w->act(w->arg))
		usleep(w->every_us);
	return NULL;
}

void warm_start(struct warm *w, bool (*act)(void *arg), void *arg, unsigned int every_us)
{
	if (w->on)
		return;
	*w = (struct warm){ .act = act, .arg = arg, .every_us = every_us };
	w->on = pthread_create(&w->thread, NULL, warm_main, w) == 0;
}

void warm_end(struct warm *w)
{
	__atomic_store_n(&w->end, true, __ATOMIC_RELEASE);
}

void warm_stop(struct warm *w)
{
	warm_end(w);
	if (w->on)
		pthread_join(w->thread, NULL);
	w->on = false;
}
