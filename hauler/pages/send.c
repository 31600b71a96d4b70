// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * send.c - sender threads: take items from one queue, and send them (item.c).
 *
 * Two items of one round never hold the same page, so a page has one sender at a
 * time; between rounds there is a barrier (PROTOCOL.md section 5).
 */
#include "hauler/pages/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/tracker/tracker.h"
#include "hauler/pages/kin.h"
#include "transport/transport.h"

#define PUSH_PAGES     32u
#define PUSH_ITEMS     4u /* for each stream: queued items delay the neighbours of a fault */
#define QUEUE_ITEMS    64
#define STALL_LIMIT_MS 30000

static void fail(struct send *s, int r, const struct err *e)
{
	pthread_mutex_lock(&s->lock);
	if (!s->result) {
		s->result = r;
		if (e)
			s->err = *e;
	}
	pthread_cond_broadcast(&s->work);
	pthread_cond_broadcast(&s->room);
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* ---- the threads ---- */

static int send_mark(struct stream *t, uint32_t mark, struct err *e)
{
	struct frame f = { .type = FRAME_MARK, .mark = mark };

	return frame_send(t->ch, &f, NULL, 0, DEADLINE_NEVER, e);
}

/* Return: the next item; NULL with *mark set; NULL with *mark 0: stop. Lock is held. */
static struct item *next_work(struct stream *t, uint32_t *mark)
{
	struct send *s = t->s;

	for (;;) {
		*mark = 0;
		if (s->stop || s->result)
			return NULL;
		struct item *it = s->head;

		if (it) {
			s->head = it->next;
			if (!s->head)
				s->tail = NULL;
			s->queued--;
			pthread_cond_signal(&s->room);
			return it;
		}
		if (t->mark_done < s->mark) {
			*mark = s->mark;
			return NULL;
		}
		pthread_cond_wait(&s->work, &s->lock);
	}
}

static void recycle(struct send *s, struct item *it)
{
	free(it->data);
	it->data = NULL;
	it->next = s->spare;
	s->spare = it;
}

static bool stopped(struct send *s)
{
	pthread_mutex_lock(&s->lock);
	bool is = s->stop || s->result;

	pthread_mutex_unlock(&s->lock);
	return is;
}

static void *stream_main(void *arg)
{
	struct stream *t = arg;
	struct send *s = t->s;
	struct err e = ERR_INIT;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		uint32_t mark;
		struct item *it = next_work(t, &mark);

		if (!it && !mark)
			break;
		pthread_mutex_unlock(&s->lock);
		if (it)
			send_paced(s, it->pages * PAGE_BYTES);
		int r = it ? item_send(t, it, &e) : send_mark(t, mark, &e);

		if (r < 0)
			fail(s, r, &e);
		pthread_mutex_lock(&s->lock);
		if (it)
			recycle(s, it);
		else if (r == 0)
			t->mark_done = mark;
		pthread_cond_broadcast(&s->idle);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- producers ---- */

int send_new(struct send **out, struct chan **ch, unsigned int n, struct sent *sent, struct err *e)
{
	AUTO(send) struct send *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (!s || n == 0 || n > STREAMS_MAX)
		return err_set(e, ERR_SYS, ENOMEM, "streams");
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pace_init(&s->pace);
	pthread_cond_init(&s->work, &attr);
	pthread_cond_init(&s->room, &attr);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
	s->sent = sent;
	if (kin_new(&s->kin) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "streams");
	for (unsigned int i = 0; i < n; i++) {
		struct stream *t = &s->stream[i];

		t->s = s;
		t->ch = ch[i];
		chan_silence(t->ch, STALL_LIMIT_MS);
		t->buf = malloc(FRAME_PAGES_MAX * PAGE_BYTES);
		if (!t->buf)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for stream %u", i);
		s->n = i + 1;
		int r = pthread_create(&t->thread, NULL, stream_main, t);

		if (r)
			return err_set(e, ERR_SYS, r, "thread for stream %u", i);
		t->started = true;
	}
	*out = steal(s);
	return 0;
}

/* Lock is held. Return: 0; the error that closed the queue. */
static int closed(struct send *s, struct err *e)
{
	if (s->result) {
		if (e && e->src == ERR_NONE)
			*e = s->err;
		return s->result;
	}
	return s->stop ? err_set(e, ERR_STOPPED, ECANCELED, "stopped") : 0;
}

/* Queue the item that is being filled; wait for room. Lock is held. */
static int flush(struct send *s, struct err *e)
{
	bool push = s->filling && s->filling->what == SEND_ALL;
	unsigned int room = push ? PUSH_ITEMS * s->n : QUEUE_ITEMS;
	int r = closed(s, e);

	while (r == 0 && s->queued >= room) {
		pthread_cond_wait(&s->room, &s->lock);
		r = closed(s, e);
	}
	struct item *it = s->filling;

	if (r < 0 || !it)
		return r;
	s->filling = NULL;
	it->next = NULL;
	if (s->tail)
		s->tail->next = it;
	else
		s->head = it;
	s->tail = it;
	s->queued++;
	pthread_cond_signal(&s->work);
	return 0;
}

static struct item *fresh(struct send *s)
{
	struct item *it = s->spare;

	if (it)
		s->spare = it->next;
	else
		it = malloc(sizeof(*it));
	if (it) {
		it->next = NULL;
		it->data = NULL;
		it->memfd = -1;
		it->n_runs = it->pages = 0;
	}
	return it;
}

/* In post-copy a thread may wait for any page, so frames are small. */
static uint64_t frame_pages(enum send_what what)
{
	return what == SEND_ALL ? PUSH_PAGES : FRAME_PAGES_MAX;
}

static bool fits(const struct item *it, uint64_t obj, enum send_what what, int memfd)
{
	return it && it->obj == obj && it->what == what && it->memfd == memfd && !it->data &&
	       it->n_runs < FRAME_RUNS_MAX && it->pages < frame_pages(what);
}

int send_pages(struct send *s, enum send_what what, uint64_t obj, int memfd, uint64_t vaddr,
               uint64_t pages, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	while (r == 0 && pages) {
		struct item *it = s->filling;

		if (!fits(it, obj, what, memfd)) {
			r = flush(s, e);
			if (r < 0)
				break;
			it = s->filling = fresh(s);
			if (!it) {
				r = err_set(e, ERR_SYS, ENOMEM, "no memory to queue pages");
				break;
			}
			it->obj = obj;
			it->what = what;
			it->round = s->mark;
			it->memfd = memfd;
		}
		uint64_t n = frame_pages(what) - it->pages;

		if (n > pages)
			n = pages;
		it->runs[it->n_runs++] = (struct frame_run){ obj, vaddr, (uint32_t)n, RUN_DATA };
		it->pages += (unsigned int)n;
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int send_bytes(struct send *s, uint64_t obj, uint64_t vaddr, const void *data, size_t pages,
               struct err *e)
{
	if (pages == 0 || pages > FRAME_PAGES_MAX)
		return err_set(e, ERR_BUG, ERANGE, "%zu pages in one piece", pages);
	uint8_t *copy = malloc(pages * PAGE_BYTES);

	if (!copy)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to queue pages");
	memcpy(copy, data, pages * PAGE_BYTES);
	pthread_mutex_lock(&s->lock);
	int r = flush(s, e);
	struct item *it = r == 0 ? fresh(s) : NULL;

	if (it) {
		it->what = SEND_STANDING;
		it->obj = obj;
		it->data = copy;
		it->n_runs = 1;
		it->pages = (unsigned int)pages;
		it->runs[0] = (struct frame_run){ obj, vaddr, (uint32_t)pages, RUN_DATA };
		s->filling = it;
		r = flush(s, e);
	} else {
		free(copy);
		if (r == 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory to queue pages");
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static bool all_marked(const struct send *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->stream[i].mark_done < s->mark)
			return false;
	return true;
}

int send_barrier(struct send *s, uint32_t mark, uint64_t deadline_us, struct err *e)
{
	struct timespec until = { (time_t)(deadline_us / 1000000),
		                  (long)(deadline_us % 1000000) * 1000 };

	pthread_mutex_lock(&s->lock);
	int r = flush(s, e);

	s->mark = mark;
	pthread_cond_broadcast(&s->work);
	while (r == 0 && !all_marked(s)) {
		if (deadline_us == DEADLINE_NEVER)
			pthread_cond_wait(&s->idle, &s->lock);
		else if (pthread_cond_timedwait(&s->idle, &s->lock, &until) == ETIMEDOUT)
			r = err_set(e, ERR_LINK, ETIMEDOUT, "the pages could not be sent in time");
		if (r == 0)
			r = closed(s, e);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int send_lost(struct send *s, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	if (s->lost.src != ERR_NONE)
		*e = s->lost;
	int r = s->lost.src != ERR_NONE ? -s->lost.code : 0;

	pthread_mutex_unlock(&s->lock);
	return r;
}

uint64_t send_unacked(const struct send *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < s->n; i++)
		n += chan_unacked(s->stream[i].ch);
	return n;
}

void send_paced(struct send *s, uint64_t bytes)
{
	while (!stopped(s) && pace_nap(&s->pace, bytes))
		;
}

void send_kin(struct send *s, const pid_t *pid, size_t n, bool twins)
{
	kin_set(s->kin, pid, n, twins);
}

void send_tracker(struct send *s, struct tracker *trk)
{
	s->trk = trk;
}

void send_limit(struct send *s, uint64_t Bps, unsigned int cpu_percent)
{
	pace_limit(&s->pace, Bps, cpu_percent);
}

void send_get_stats(struct send *s, struct send_stats *st)
{
	pthread_mutex_lock(&s->lock);
	*st = s->st;
	pthread_mutex_unlock(&s->lock);
}

void send_cancel(struct send *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->work);
	pthread_cond_broadcast(&s->room);
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
	/* do not wait for a stalled link */
	for (unsigned int i = 0; i < s->n; i++)
		chan_cancel(s->stream[i].ch);
}

static void free_list(struct item *it)
{
	for (struct item *next; it; it = next) {
		next = it->next;
		free(it->data);
		free(it);
	}
}

void send_free(struct send *s)
{
	if (!s)
		return;
	send_cancel(s);
	for (unsigned int i = 0; i < s->n; i++) {
		if (s->stream[i].started)
			pthread_join(s->stream[i].thread, NULL);
		free(s->stream[i].buf);
	}
	free_list(s->head);
	free_list(s->filling);
	free_list(s->spare);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->room);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	pace_fini(&s->pace);
	kin_free(s->kin);
	free(s);
}
