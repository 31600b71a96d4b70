// SPDX-License-Identifier: GPL-2.0-or-later
/* mig.c - what a migration knows about itself: its locks, whether it is stopped, deadlines, sums. */
#include "hauler/mig/mig.h"

#include "common/clock.h"

void mig_init(struct mig *m)
{
	pthread_mutex_init(&m->halt.lock, NULL);
	pthread_mutex_init(&m->link.lock, NULL);
	pthread_mutex_init(&m->rest.lock, NULL);
	pthread_mutex_init(&m->dump.lock, NULL);
	m->dump.images_fd = -1;
}

bool mig_stopped(struct mig *m)
{
	pthread_mutex_lock(&m->halt.lock);
	bool is = m->halt.stop;

	pthread_mutex_unlock(&m->halt.lock);
	return is;
}

bool link_lost(struct link *l, const struct err *why)
{
	pthread_mutex_lock(&l->lock);
	bool first = !l->lost;

	if (first)
		l->why = *why;
	l->lost = true;
	pthread_mutex_unlock(&l->lock);
	return first;
}

bool link_reason(struct link *l, struct err *e)
{
	pthread_mutex_lock(&l->lock);
	bool lost = l->lost;

	if (lost)
		*e = l->why;
	pthread_mutex_unlock(&l->lock);
	return lost;
}
