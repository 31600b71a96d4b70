// SPDX-License-Identifier: GPL-2.0-or-later
/* streams.c - data streams of a worker: accept them, put pages where they belong. */
#include "agent/mig/mig.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "transport/haul.pb-c.h"

#define HELLO_LIMIT_MS  10000
#define ACCEPT_LIMIT_MS 10000
#define WANT_LIMIT_MS   2000 /* the pager waits for this; a lost one is asked for again */
#define RECV_BYTES      (FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES)

static int check_hello(struct stream *t, const Haul__Hello *h, struct err *e)
{
	struct wrk *w = t->w;

	if (!wrk_secret_is(w->secret, h->secret.data, h->secret.len))
		return err_set(e, ERR_PEER, EACCES, "a stream without this migration's secret");
	if (h->role != HAUL__ROLE__ROLE_DATA && h->role != HAUL__ROLE__ROLE_URGENT &&
	    h->role != HAUL__ROLE__ROLE_RESUME && h->role != HAUL__ROLE__ROLE_FILES)
		return err_set(e, ERR_PEER, EPROTO, "a stream with role %d", h->role);
	if (h->role == HAUL__ROLE__ROLE_FILES && !w->fs)
		return err_set(e, ERR_PEER, EPROTO, "files of no tree that was offered");
	t->urgent = h->role == HAUL__ROLE__ROLE_URGENT;
	t->files = h->role == HAUL__ROLE__ROLE_FILES;
	return 0;
}

static int answer_hello(struct chan *ch, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Hello h = HAUL__HELLO__INIT;

	char boot[JOURNAL_BOOT_BYTES];

	journal_boot_id(boot);
	h.boot = boot;
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT_RESUME;
	msg.body_case = HAUL__MSG__BODY_HELLO;
	msg.hello = &h;
	return wire_send(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);
}

/* Return: 0 it carries pages; 1 it was a connection that resumes; -errno */
static int stream_hello(struct stream *t, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = wire_recv(t->ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);

	if (r < 0)
		return r;
	if (msg->body_case != HAUL__MSG__BODY_HELLO)
		r = err_set(e, ERR_PEER, EPROTO, "a stream that does not say hello");
	else
		r = check_hello(t, msg->hello, e);
	if (r == 0)
		r = answer_hello(t->ch, e);
	if (r == 0 && msg->hello->role == HAUL__ROLE__ROLE_RESUME) {
		r = res_run(t, msg->hello, e);
		r = r < 0 ? r : 1;
	}
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
	if (run->kind == RUN_DATA)
		return store_write(o, run->vaddr, data, run->pages, e);
	if (run->kind == RUN_ZERO)
		return store_zero(o, run->vaddr, run->pages, e);
	return 0;
}

static int put_frame(struct wrk *w, const struct frame *f, const uint8_t *data, struct err *e)
{
	for (uint32_t i = 0; i < f->n_runs; i++) {
		const struct frame_run *run = &f->runs[i];
		bool has_data = run->kind == RUN_DATA;
		int r = put_run(w, run, has_data ? data : NULL, e);

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
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Marked m = HAUL__MARKED__INIT;

	pthread_mutex_lock(&w->lock);
	t->mark = mark;
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++)
		have += w->stream[i].registered && !w->stream[i].urgent && !w->stream[i].files &&
		        w->stream[i].mark >= mark;
	bool complete = have == w->n_data && w->marked < mark;

	if (complete)
		w->marked = mark;
	pthread_mutex_unlock(&w->lock);
	if (!complete)
		return 0;
	m.mark = mark;
	m.stored_pages = store_data_pages(w->store);
	msg.body_case = HAUL__MSG__BODY_MARKED;
	msg.marked = &m;
	return wrk_say(w, &msg, e);
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
		pthread_mutex_lock(&w->urgent_lock);
		w->urgent = ch;
		pthread_mutex_unlock(&w->urgent_lock);
	}
	pthread_mutex_lock(&w->lock);
	t->registered = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* After the commit a lost link is no failure: the source will come back. */
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
			agt_refuse(t->ch, &e);
		shutdown(t->peer, SHUT_RDWR);
	}
	if (r == 0 && (t->files ? dirs_in_loop(t->w->fs, t->ch, &e) : stream_loop(t, &e)) < 0)
		stream_ended(t, &e);
	__atomic_store_n(&t->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Its thread ends soon, or has ended. */
static void stream_free(struct stream *t)
{
	struct wrk *w = t->w;

	pthread_join(t->thread, NULL);
	pthread_mutex_lock(&w->urgent_lock);
	if (w->urgent == t->ch)
		w->urgent = NULL;
	pthread_mutex_unlock(&w->urgent_lock);
	pthread_mutex_lock(&w->lock);
	struct chan *ch = t->ch;

	close(t->peer);
	*t = (struct stream){ .fd = -1, .peer = -1 };
	pthread_mutex_unlock(&w->lock);
	chan_free(ch);
}

/* All are taken: who has waited longest without showing a key has to go. NULL: nobody */
static struct stream *evict_stranger(struct wrk *w)
{
	struct stream *oldest = NULL;

	pthread_mutex_lock(&w->lock);
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++) {
		struct stream *t = &w->stream[i];

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

/* The accept thread alone makes streams; it also clears away those of strangers. */
static struct stream *free_slot(struct wrk *w)
{
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++) {
		struct stream *t = &w->stream[i];
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
		struct pollfd p[2] = { { .fd = w->stop_fd, .events = POLLIN },
			               { .fd = w->door, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		if (!p[1].revents)
			continue;
		int fd = door_take(w->door);

		if (fd >= 0)
			new_stream(w, fd);
	}
}

int rcv_start(struct wrk *w, struct err *e)
{
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (w->stop_fd < 0)
		return err_sys(e, "eventfd");
	int r = pthread_create(&w->accept_thread, NULL, accept_main, w);

	w->accepting = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for streams") : 0;
}

static void cancel_streams(struct wrk *w, const struct stream *but, bool only_registered)
{
	pthread_mutex_lock(&w->lock);
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++) {
		struct stream *t = &w->stream[i];

		if (!t->used || t == but || (only_registered && !t->registered))
			continue;
		if (t->ch)
			chan_cancel(t->ch);
		else
			shutdown(t->peer, SHUT_RDWR);
	}
	pthread_mutex_unlock(&w->lock);
}

void rcv_stop(struct wrk *w)
{
	uint64_t one = 1;

	if (w->accepting) {
		ssize_t n = write(w->stop_fd, &one, sizeof(one));

		(void)n;
		pthread_join(w->accept_thread, NULL);
		w->accepting = false;
	}
	cancel_streams(w, NULL, false);
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++)
		if (w->stream[i].used)
			stream_free(&w->stream[i]);
}

void rcv_drop_streams(struct wrk *w, const struct stream *but)
{
	cancel_streams(w, but, true);
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++)
		if (&w->stream[i] != but && w->stream[i].registered)
			stream_free(&w->stream[i]);
	w->marked = 0;
}

static unsigned int have_streams(const struct wrk *w, bool *urgent)
{
	unsigned int n = 0;

	*urgent = false;
	for (unsigned int i = 0; i < AGT_STREAMS_MAX; i++) {
		n += w->stream[i].registered && !w->stream[i].urgent && !w->stream[i].files;
		*urgent |= w->stream[i].registered && w->stream[i].urgent;
	}
	return n;
}

int rcv_wait_streams(struct wrk *w, uint64_t deadline_us, struct err *e)
{
	bool urgent;
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (r == 0 && (have_streams(w, &urgent) < w->n_data || !urgent))
		r = wrk_wait(w, deadline_us);
	pthread_mutex_unlock(&w->lock);
	return r ? err_set(e, ERR_LINK, ETIMEDOUT, "the source did not open its streams") : 0;
}

int rcv_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct wrk *w = arg;
	struct frame f = { .type = FRAME_WANT, .n_runs = 1 };
	struct err e = ERR_INIT;

	f.runs[0] = (struct frame_run){ obj, vaddr, (uint32_t)pages, RUN_DATA };
	pthread_mutex_lock(&w->urgent_lock);
	int r = w->urgent ? frame_send(w->urgent, &f, NULL, 0, deadline_in_ms(WANT_LIMIT_MS), &e)
	                  : -ENOTCONN;

	pthread_mutex_unlock(&w->urgent_lock);
	return r;
}
