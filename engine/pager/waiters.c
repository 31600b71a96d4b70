// SPDX-License-Identifier: GPL-2.0-or-later
/* waiters.c - faults on pages that are still at the source, and how long they waited. */
#include "engine/pager/priv.h"

#include <errno.h>
#include <stdlib.h>

#include "common/array.h"
#include "common/clock.h"

int waiters_add(struct family *f, const struct space *s, uint64_t orig, uint64_t since_us)
{
	pthread_mutex_lock(&f->wait_lock);
	int r = array_grow(&f->wait, f->n_wait, &f->cap_wait, sizeof(*f->wait));

	if (r == 0)
		f->wait[f->n_wait++] = (struct waiter){ s, orig, since_us };
	pthread_mutex_unlock(&f->wait_lock);
	return r;
}

void waiters_served(struct family *f, const struct space *s, uint64_t orig)
{
	uint64_t now = now_us();

	pthread_mutex_lock(&f->wait_lock);
	for (size_t i = 0; i < f->n_wait;) {
		struct waiter w = f->wait[i];

		if (w.s != s || w.orig != orig) {
			i++;
			continue;
		}
		f->wait[i] = f->wait[--f->n_wait];
		pager_note_time(f->p, now - w.since_us);
	}
	pthread_mutex_unlock(&f->wait_lock);
}
