// SPDX-License-Identifier: GPL-2.0-or-later
/* stream_table.c - the data connections that a worker has: end them, wait for them, ask on them. */
#include "agent/worker/streams.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "transport/msg/frame.h"

#define WANT_LIMIT_MS 2000 /* the pager waits for this; a lost request is sent again */

void stream_free(struct stream *t)
{
	struct wrk *w = t->w;

	pthread_join(t->thread, NULL);
	pthread_mutex_lock(&w->streams.urgent_lock);
	if (w->streams.urgent == t->ch)
		w->streams.urgent = NULL;
	pthread_mutex_unlock(&w->streams.urgent_lock);
	pthread_mutex_lock(&w->lock);
	struct chan *ch = t->ch;

	close(t->peer);
	*t = (struct stream){ .fd = -1, .peer = -1 };
	pthread_mutex_unlock(&w->lock);
	chan_free(ch);
}

void streams_cancel(struct wrk *w, const struct stream *but, bool registered)
{
	pthread_mutex_lock(&w->lock);
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++) {
		struct stream *t = &w->streams.slot[i];

		if (!t->used || t == but || (registered && !t->registered))
			continue;
		if (t->ch)
			chan_cancel(t->ch);
		else
			shutdown(t->peer, SHUT_RDWR);
	}
	pthread_mutex_unlock(&w->lock);
}

void streams_drop(struct wrk *w, const struct stream *but)
{
	streams_cancel(w, but, true);
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++) {
		struct stream *t = &w->streams.slot[i];

		if (t != but && t->registered)
			stream_free(t);
	}
	w->streams.marked = 0;
}

static unsigned int have_streams(const struct wrk *w, bool *urgent)
{
	unsigned int n = 0;

	*urgent = false;
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++) {
		const struct stream *t = &w->streams.slot[i];

		n += t->registered && !t->urgent && !t->files;
		*urgent |= t->registered && t->urgent;
	}
	return n;
}

int streams_wait(struct wrk *w, uint64_t deadline_us, struct err *e)
{
	bool urgent;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (r == 0 && (have_streams(w, &urgent) < w->streams.n_data || !urgent))
		r = wrk_wait(w, deadline_us);
	pthread_mutex_unlock(&w->lock);
	return r ? err_set(e, ERR_LINK, ETIMEDOUT, "the source did not open its streams") : 0;
}

int streams_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct wrk *w = arg;
	struct wrk_streams *s = &w->streams;
	struct frame f = { .type = FRAME_WANT, .n_runs = 1 };
	struct err e = ERR_INIT;

	f.runs[0] = (struct frame_run){ obj, vaddr, (uint32_t)pages, RUN_DATA };
	pthread_mutex_lock(&s->urgent_lock);
	int r = s->urgent ? frame_send(s->urgent, &f, NULL, 0, deadline_in_ms(WANT_LIMIT_MS), &e)
	                  : -ENOTCONN;

	pthread_mutex_unlock(&s->urgent_lock);
	return r;
}
