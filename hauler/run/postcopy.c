// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * postcopy.c - the tree has been restored at the destination: answer its page requests, push the
 * rest, and kill the stopped copy when every page is in place there.
 */
#include "hauler/run/priv.h"

#include "hauler/pages/order.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "hauler/report/report.h"
#include "transport/msg/haul.pb-c.h"

#define SILENCE_LIMIT_MS 10000
#define PUSH_PAGES       32u
#define URGENT_BYTES     (FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES)

/* Of the stopped copy, by its inner number. Return: 0: it is none of ours */
static pid_t held_pid(const struct mig *m, uint64_t inner)
{
	if (m->pages.has)
		return m->pages.has(m->pages.read_arg, obj_of_task(inner)) ? (pid_t)inner : 0;
	for (size_t i = 0; i < m->copy.n_held; i++)
		if ((uint64_t)m->copy.held[i].inner == inner)
			return m->copy.held[i].pid;
	return 0;
}

/* Return: how many pages were read; below 0: none can be */
static ssize_t read_pages(const struct mig *m, const struct frame_run *want, uint8_t *buf,
                          struct err *e)
{
	pid_t pid = held_pid(m, obj_id(want->obj));
	int fd = -1;

	if (m->pages.read) {
		int r = m->pages.read(m->pages.read_arg, want->obj, want->vaddr, buf, want->pages,
		                      e);

		return r < 0 ? r : (ssize_t)want->pages;
	}
	for (size_t i = 0; i < m->pages.n_mem; i++)
		if (m->pages.mem[i].pid == pid)
			fd = m->pages.mem[i].fd;
	return fd >= 0 ? mem_read(fd, pid, want->vaddr, buf, want->pages) : -1;
}

static int answer_run(struct mig *m, const struct frame_run *want, uint8_t *buf, struct err *e)
{
	pid_t pid = held_pid(m, obj_id(want->obj));
	struct frame f = { .type = FRAME_PAGES, .n_runs = 1 };
	struct iovec io = { .iov_base = buf };

	if (!obj_is_task(want->obj) || !pid)
		return err_set(e, ERR_PEER, EPROTO, "the destination asks for pages of pid %llu",
		               (unsigned long long)obj_id(want->obj));
	pthread_mutex_lock(&m->rest.lock);
	if (m->rest.order)
		order_waits(m->rest.order, want->obj, want->vaddr, want->pages);
	pthread_mutex_unlock(&m->rest.lock);
	ssize_t n = read_pages(m, want, buf, e);

	/* an archive loses no page: the read was given up */
	if (n < 0 && m->pages.read)
		return (int)n;
	f.runs[0] = *want;
	f.runs[0].kind = n > 0 ? RUN_DATA : RUN_GONE;
	if (n > 0)
		f.runs[0].pages = (uint32_t)n;
	io.iov_len = n > 0 ? (size_t)n * PAGE_BYTES : 0;
	return frame_send(m->link.urgent, &f, &io, n > 0, DEADLINE_NEVER, e);
}

/*
 * From a thread: one of the connections broke. All the others are given up, too; but before the
 * commit the control connection may still bring the reason, and switch_commit() looks for it.
 */
static void lost(struct mig *m, const char *what, const struct err *e)
{
	log_info("%s: %s", what, e->msg);
	pthread_mutex_lock(&m->halt.lock);
	if (m->link.ctl && mig_link_lost(&m->link, e) && m->halt.committed)
		chan_cancel(m->link.ctl);
	pthread_mutex_unlock(&m->halt.lock);
}

static void *urgent_main(void *arg)
{
	struct mig *m = arg;
	struct err e = ERR_INIT;
	AUTO(mem) uint8_t *buf = malloc(URGENT_BYTES);
	AUTO(mem) uint8_t *page = malloc(FRAME_PAGES_MAX * PAGE_BYTES);
	int r = buf && page ? 0 : err_set(&e, ERR_SYS, ENOMEM, "no memory");

	while (r == 0) {
		AUTO(mem) struct frame *f = malloc(sizeof(*f));
		const uint8_t *data;

		r = f ? frame_recv(m->link.urgent, f, buf, &data, DEADLINE_NEVER, &e) : -ENOMEM;
		if (r < 0 || f->type == FRAME_BYE)
			break;
		if (f->type != FRAME_WANT)
			r = err_set(&e, ERR_PEER, EPROTO, "frame %d on the urgent stream", f->type);
		for (uint32_t i = 0; r == 0 && i < f->n_runs; i++)
			r = f->runs[i].pages <= FRAME_PAGES_MAX
			            ? answer_run(m, &f->runs[i], page, &e)
			            : -EPROTO;
	}
	if (r < 0 && r != -ECANCELED)
		lost(m, "urgent stream", &e);
	return NULL;
}

int postcopy_archived(struct mig *m, uint64_t obj, uint64_t vaddr, uint64_t pages, uint8_t *buf,
                      size_t max, struct err *e)
{
	int r = 0;

	while (r == 0 && pages) {
		size_t n = pages < max ? (size_t)pages : max;

		r = m->pages.read(m->pages.read_arg, obj, vaddr, buf, n, e);
		if (r == 0)
			r = send_bytes(m->pages.send, obj, vaddr, buf, n, e);
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	return r;
}

static int push_run(struct mig *m, uint64_t obj, uint64_t vaddr, uint64_t pages, struct err *e)
{
	if (m->pages.read) {
		uint8_t buf[PUSH_PAGES *
		            PAGE_BYTES]; /* small frames: a thread may wait for any page */

		return postcopy_archived(m, obj, vaddr, pages, buf, PUSH_PAGES, e);
	}
	int fd = memfd_get(m, held_pid(m, obj_id(obj)), e);

	return fd < 0 ? fd : send_pages(m->pages.send, SEND_ALL, obj, fd, vaddr, pages, e);
}

static int push(struct mig *m, struct err *e)
{
	uint64_t obj, vaddr, pages;
	struct order *o = NULL;
	int r = order_new(&o, m->rest.left, m->rest.n_left, m->pages.sent, e);

	pthread_mutex_lock(&m->rest.lock);
	m->rest.order = o;
	pthread_mutex_unlock(&m->rest.lock);
	while (r == 0 && order_next(m->rest.order, &obj, &vaddr, &pages))
		r = push_run(m, obj, vaddr, pages, e);
	if (r)
		return r;
	r = send_barrier(m->pages.send, ++m->pages.mark, DEADLINE_NEVER, e);
	return r ? r : send_lost(m->pages.send, e); /* all other pages are there */
}

static void *push_main(void *arg)
{
	struct mig *m = arg;
	struct err e = ERR_INIT;
	int r = push(m, &e);

	if (r < 0 && r != -ECANCELED)
		lost(m, "the rest of the pages", &e);
	return NULL;
}

int postcopy_listen(struct mig *m, struct err *e)
{
	chan_silence(m->link.urgent, SILENCE_LIMIT_MS);
	int r = pthread_create(&m->rest.urgent_thread, NULL, urgent_main, m);

	m->rest.urgent_running = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for the urgent stream") : 0;
}

/*
 * At first the pages that the final page maps left out; after a lost link those that the
 * destination named.
 */
static int take_left(struct mig *m, struct err *e)
{
	size_t n;
	const struct sink_obj *objs = m->rest.left ? NULL : sink_objs(m->dump.sink, &n);

	if (!objs)
		return 0;
	m->rest.left = calloc(n + 1, sizeof(*m->rest.left));
	if (!m->rest.left)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	for (; m->rest.n_left < n; m->rest.n_left++) {
		m->rest.left[m->rest.n_left] = (struct left_obj){ objs[m->rest.n_left].obj,
			                                          m->dump.maps[m->rest.n_left] };
		m->dump.maps[m->rest.n_left] = (struct class_runs){ 0 };
	}
	return 0;
}

int postcopy_push(struct mig *m, struct err *e)
{
	if (take_left(m, e) < 0)
		return -e->code;
	throttle_limits(m, false);
	int r = pthread_create(&m->rest.push_thread, NULL, push_main, m);

	m->rest.push_running = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for post-copy") : 0;
}

static int wait_drained(struct mig *m, struct err *e)
{
	Haul__Msg *none = NULL; /* no message ends this loop: the rule for DRAINED sets a flag */
	int r = 0;

	while (r == 0 && !m->rest.drained) {
		freeze_watch(m);
		r = talk_next(m, m->link.ctl, 0, &none, deadline_in_ms(SILENCE_LIMIT_MS), e);
		report_progress(m, false);
	}
	return r < 0 ? err_wrap(e, "post-copy") : 0;
}

void postcopy_end_threads(struct mig *m)
{
	if (m->rest.push_running)
		pthread_join(m->rest.push_thread, NULL);
	if (m->rest.urgent_running) {
		chan_cancel(m->link.urgent);
		pthread_join(m->rest.urgent_thread, NULL);
	}
	m->rest.push_running = m->rest.urgent_running = m->link.lost = false;
	order_free(steal(m->rest.order));
}

static int drain(struct mig *m, struct err *e)
{
	/* a new link has to start again with what is left */
	int r = m->rest.n_left && !m->rest.push_running ? postcopy_push(m, e) : 0;

	fault_at(FAULT_S_PUSHING);
	if (r)
		return r;
	r = wait_drained(m, e);
	if (r)
		return r;
	fault_at(FAULT_S_DRAINED);
	return 0;
}

int postcopy_run(struct mig *m, struct err *e)
{
	int r = drain(m, e);

	if (r < 0) {
		send_cancel(m->pages.send);
		mig_link_reason(&m->link, e);
		postcopy_end_threads(m);
		return r;
	}
	postcopy_end_threads(m);
	freeze_kill(m);
	talk_say(m, HAUL__MSG__BODY_BYE, NULL, &(struct err)ERR_INIT);
	return 0;
}
