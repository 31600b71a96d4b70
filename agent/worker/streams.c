// SPDX-License-Identifier: GPL-2.0-or-later
/* streams.c - data streams of a worker: accept them, put pages where they belong. */
#include "agent/worker/streams.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "agent/dirs/dirs.h"
#include "common/local/door.h"
#include "agent/mig/refuse.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "transport/msg/frame.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/keys/secret.h"

#define HELLO_LIMIT_MS  10000
#define ACCEPT_LIMIT_MS 10000
#define RECV_BYTES      (FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES)

static int check_hello(struct stream *t, const Haul__Hello *h, struct err *e)
{
	struct wrk *w = t->w;

	if (!secret_is(w->secret, h->secret.data, h->secret.len))
		return err_set(e, ERR_PEER, EACCES, "a stream without this migration's secret");
	if (h->role != HAUL__ROLE__ROLE_DATA && h->role != HAUL__ROLE__ROLE_URGENT &&
	    h->role != HAUL__ROLE__ROLE_RESUME && h->role != HAUL__ROLE__ROLE_FILES)
		return err_set(e, ERR_PEER, EPROTO, "a stream with role %d", h->role);
	if (h->role == HAUL__ROLE__ROLE_FILES && !w->fs)
		return err_set(e, ERR_PEER, EPROTO, "files of a directory that was not offered");
	t->urgent = h->role == HAUL__ROLE__ROLE_URGENT;
	t->files = h->role == HAUL__ROLE__ROLE_FILES;
	return 0;
}

static int take_hello(struct stream *t, const Haul__Msg *msg, struct err *e)
{
	if (msg->body_case != HAUL__MSG__BODY_HELLO)
		return err_set(e, ERR_PEER, EPROTO, "a stream that does not say hello");
	int r = check_hello(t, msg->hello, e);

	if (r < 0)
		return r;
	r = wire_say_hello_back(t->ch, deadline_in_ms(HELLO_LIMIT_MS), e);
	if (r < 0 || msg->hello->role != HAUL__ROLE__ROLE_RESUME)
		return r;
	r = t->w->streams.resume(t, msg->hello, e);
	return r < 0 ? r : 1;
}

/* Return: 0 it carries pages or files; 1 it has become the control connection; -errno */
static int stream_hello(struct stream *t, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = wire_recv(t->ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);

	if (r < 0)
		return r;
	r = take_hello(t, msg, e);
	haul__msg__free_unpacked(msg, NULL);
	return r;
}

static int put_run(struct wrk *w, const struct frame_run *run, const uint8_t *data, struct err *e)
{
	if (__atomic_load_n(&w->deliver, __ATOMIC_ACQUIRE) && obj_is_task(run->obj)) {
		if (run->kind == RUN_GONE)
			return err_set(e, ERR_PEER, ENODATA,
			               "the source has lost page %llx of pid %llu",
			               (unsigned long long)run->vaddr,
			               (unsigned long long)obj_id(run->obj));
		return pager_deliver(w->pager, run->obj, run->vaddr, run->pages, data, e);
	}
	struct sobj *o = store_obj(w->store, run->obj, true);

	if (!o)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the page store");
	if (run->kind == RUN_DATA || run->kind == RUN_SAME)
		return store_write(o, run->vaddr, data, run->pages, e);
	if (run->kind == RUN_ZERO)
		return store_zero(o, run->vaddr, run->pages, e);
	return 0;
}

static int put_frame(struct wrk *w, const struct frame *f, const uint8_t *data, struct err *e)
{
	const uint8_t *first = data;

	for (uint32_t i = 0; i < f->n_runs; i++) {
		const struct frame_run *run = &f->runs[i];
		bool has_data = run->kind == RUN_DATA;
		const uint8_t *from = has_data                ? data
		                      : run->kind == RUN_SAME ? frame_same(f, i, first)
		                                              : NULL;
		int r = put_run(w, run, from, e);

		if (r < 0)
			return r;
		if (has_data)
			data += (size_t)run->pages * PAGE_BYTES;
	}
	return 0;
}

/* The stream that completes a mark tells the source. */
static int put_mark(struct stream *t, uint32_t mark, struct err *e)
{
	struct wrk *w = t->w;
	unsigned int have = 0;
	Haul__Marked m = HAUL__MARKED__INIT;

	pthread_mutex_lock(&w->lock);
	t->mark = mark;
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++)
		have += w->streams.slot[i].registered && !w->streams.slot[i].urgent &&
		        !w->streams.slot[i].files && w->streams.slot[i].mark >= mark;
	bool complete = have == w->streams.n_data && w->streams.marked < mark;

	if (complete)
		w->streams.marked = mark;
	pthread_mutex_unlock(&w->lock);
	if (!complete)
		return 0;
	m.mark = mark;
	m.stored_pages = store_data_pages(w->store);
	return wrk_say(w, HAUL__MSG__BODY_MARKED, &m, e);
}

static int stream_loop(struct stream *t, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(RECV_BYTES);
	AUTO(mem) struct frame *f = malloc(sizeof(*f));
	const uint8_t *data;

	if (!buf || !f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a stream");
	for (;;) {
		int r = frame_recv(t->ch, f, buf, &data, DEADLINE_NEVER, e);

		if (r < 0)
			return r;
		if (f->type == FRAME_BYE)
			return 0;
		if (f->type == FRAME_PAGES)
			r = put_frame(t->w, f, data, e);
		else if (f->type == FRAME_MARK && !t->urgent)
			r = put_mark(t, f->mark, e);
		else
			r = err_set(e, ERR_PEER, EPROTO, "frame %d on a stream", f->type);
		if (r < 0)
			return r;
	}
}

static int stream_open(struct stream *t, struct err *e)
{
	struct wrk *w = t->w;
	struct chan *ch = NULL;
	int r = chan_accept(&ch, steal_fd(&t->fd), w->server, ACCEPT_LIMIT_MS, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&w->lock);
	t->ch = ch;
	pthread_mutex_unlock(&w->lock);
	r = stream_hello(t, e);
	if (r)
		return r;
	if (t->urgent) {
		chan_go_first(ch);
		pthread_mutex_lock(&w->streams.urgent_lock);
		w->streams.urgent = ch;
		pthread_mutex_unlock(&w->streams.urgent_lock);
	}
	pthread_mutex_lock(&w->lock);
	t->registered = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* After the commit a lost link is not a failure: the source will come back. */
static void stream_ended(struct stream *t, const struct err *why)
{
	bool link = why->code == ECANCELED || why->code == EPIPE ||
	            (why->src == ERR_LINK && wrk_committed(t->w));

	if (link)
		log_debug("stream ended: %s", why->msg);
	else
		wrk_fail(t->w, why);
}

static void *stream_main(void *arg)
{
	struct stream *t = arg;
	struct err e = ERR_INIT;
	int r = stream_open(t, &e);

	/* a stranger must not disturb the migration */
	if (r < 0) {
		log_warn("stream refused: %s", e.msg);
		if (t->ch && e.src == ERR_PEER)
			refuse_peer(t->ch, &e);
		shutdown(t->peer, SHUT_RDWR);
	}
	if (r == 0 && (t->files ? dirs_in_loop(t->w->fs, t->ch, &e) : stream_loop(t, &e)) < 0)
		stream_ended(t, &e);
	__atomic_store_n(&t->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/* All slots are taken: drop the oldest connection that has not authenticated. NULL: none */
static struct stream *evict_stranger(struct wrk *w)
{
	struct stream *oldest = NULL;

	pthread_mutex_lock(&w->lock);
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++) {
		struct stream *t = &w->streams.slot[i];

		if (!t->ch && (!oldest || t->since_us < oldest->since_us))
			oldest = t;
	}
	if (oldest)
		shutdown(oldest->peer, SHUT_RDWR);
	pthread_mutex_unlock(&w->lock);
	if (oldest)
		stream_free(oldest);
	return oldest;
}

/* Only the accept thread creates streams; it also removes those of strangers. */
static struct stream *free_slot(struct wrk *w)
{
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++) {
		struct stream *t = &w->streams.slot[i];
		pthread_mutex_lock(&w->lock);
		bool used = t->used,
		     stale = used && !t->registered && __atomic_load_n(&t->over, __ATOMIC_ACQUIRE);

		pthread_mutex_unlock(&w->lock);
		if (stale)
			stream_free(t);
		if (stale || !used)
			return t;
	}
	return evict_stranger(w);
}

static void new_stream(struct wrk *w, int fd)
{
	struct stream *t = free_slot(w);

	if (!t) {
		log_warn("too many streams: one refused");
		close(fd);
		return;
	}
	pthread_mutex_lock(&w->lock);
	*t = (struct stream){
		.w = w, .fd = fd, .peer = dup(fd), .since_us = now_us(), .used = true
	};
	if (t->peer < 0 || pthread_create(&t->thread, NULL, stream_main, t)) {
		close(steal_fd(&t->fd));
		if (t->peer >= 0)
			close(steal_fd(&t->peer));
		t->used = false;
	}
	pthread_mutex_unlock(&w->lock);
}

static void *accept_main(void *arg)
{
	struct wrk *w = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = w->streams.stop_fd, .events = POLLIN },
			               { .fd = w->streams.door, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		if (!p[1].revents)
			continue;
		int fd = door_take(w->streams.door);

		if (fd >= 0)
			new_stream(w, fd);
	}
}

int streams_start(struct wrk *w, struct err *e)
{
	w->streams.stop_fd = eventfd(0, EFD_CLOEXEC);
	if (w->streams.stop_fd < 0)
		return err_sys(e, "eventfd");
	int r = pthread_create(&w->streams.accept_thread, NULL, accept_main, w);

	w->streams.accepting = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for streams") : 0;
}

void streams_stop(struct wrk *w)
{
	uint64_t one = 1;

	if (w->streams.accepting) {
		ssize_t n = write(w->streams.stop_fd, &one, sizeof(one));

		(void)n;
		pthread_join(w->streams.accept_thread, NULL);
		w->streams.accepting = false;
	}
	streams_cancel(w, NULL, false);
	for (unsigned int i = 0; i < AGENT_STREAMS_MAX; i++)
		if (w->streams.slot[i].used)
			stream_free(&w->streams.slot[i]);
}
