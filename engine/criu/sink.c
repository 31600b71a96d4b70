// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sink.c - the receiving end of CRIU's page stream in push mode: lists the pages of tasks (haul
 * reads them itself) and passes on those of shared memory.
 *
 * The stream, as CRIU's page server would see it: headers in host order, then pages; answers are
 * one byte for OPEN2 and an int32 for CLOSE. A status other than 0, or our end closed, makes CRIU
 * abort the dump and resume the tree.
 */
#include "engine/criu/sink.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/array.h"
#include "common/clock.h"
#include "common/page.h"
#include "engine/images/class_runs.h"
#include "engine/runs.h"

enum ps_cmd {
	PS_ADD = 1,
	PS_HOLE = 2,
	PS_OPEN = 3,
	PS_OPEN2 = 4,
	PS_PARENT = 5,
	PS_ADD_F = 6,
	PS_CLOSE = 0x1023,
	PS_FORCE_CLOSE = 0x1024,
};

#define PIPE_BYTES    (1 << 20)
#define SOCKET_BYTES  (4 << 20)
#define PIECE_PAGES   64
#define RUN_PAGES_MAX (1ULL << 36)
#define VADDR_MAX     (1ULL << 56)

struct sink {
	int fd;
	int pipe[2];
	int null;
	unsigned int criu_version;
	struct sink_ops ops;
	pthread_t thread;
	bool started, joined;
	int ended; /* an eventfd: the thread is about to end */
	int result;
	struct err err;
	struct sink_obj *objs;
	size_t n_objs, cap_objs;
	struct sink_obj *cur;
};

size_t sink_head_bytes(unsigned int criu_version)
{
	return criu_version >= 40200 ? 32 : 24;
}

void sink_head_parse(const uint8_t *raw, unsigned int criu_version, struct sink_head *h)
{
	uint32_t cmd, pages32;

	memcpy(&cmd, raw, 4);
	h->cmd = cmd & 0xffff;
	h->flags = cmd >> 16;
	if (criu_version >= 40200) {
		memcpy(&h->pages, raw + 8, 8);
		memcpy(&h->vaddr, raw + 16, 8);
		memcpy(&h->obj, raw + 24, 8);
	} else {
		memcpy(&pages32, raw + 4, 4);
		h->pages = pages32;
		memcpy(&h->vaddr, raw + 8, 8);
		memcpy(&h->obj, raw + 16, 8);
	}
}

/* Return: 0; -EPIPE at a clean end; -errno */
static int read_full(int fd, void *buf, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = recv(fd, (char *)buf + got, n - got, MSG_WAITALL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EPIPE;
		got += (size_t)r;
	}
	return 0;
}

/* Discard bytes without copying: socket, pipe, /dev/null. */
static int discard(struct sink *s, uint64_t left)
{
	while (left) {
		size_t want = left > PIPE_BYTES ? PIPE_BYTES : (size_t)left;
		ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, want, SPLICE_F_MOVE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		for (ssize_t m = n; m > 0;) {
			ssize_t k = splice(s->pipe[0], NULL, s->null, NULL, (size_t)m,
			                   SPLICE_F_MOVE);

			if (k < 0 && errno == EINTR)
				continue;
			if (k <= 0)
				return k < 0 ? -errno : -EPIPE;
			m -= k;
		}
		left -= (uint64_t)n;
	}
	return 0;
}

static struct sink_obj *find_obj(struct sink *s, uint64_t obj)
{
	if (s->cur && s->cur->obj == obj)
		return s->cur;
	for (size_t i = 0; i < s->n_objs; i++)
		if (s->objs[i].obj == obj)
			return s->cur = &s->objs[i];
	return NULL;
}

static int open_obj(struct sink *s, uint64_t obj)
{
	if (find_obj(s, obj))
		return 0;
	if (array_grow(&s->objs, s->n_objs, &s->cap_objs, sizeof(*s->objs)) < 0)
		return -ENOMEM;
	s->cur = &s->objs[s->n_objs++];
	memset(s->cur, 0, sizeof(*s->cur));
	s->cur->obj = obj;
	return 0;
}

typedef int (*sink_take_fn)(void *arg, uint64_t obj, uint64_t vaddr, const void *data,
                            size_t pages);

static int hand_on(struct sink *s, const struct sink_head *h, sink_take_fn take)
{
	uint64_t piece = h->pages > PIECE_PAGES ? PIECE_PAGES : h->pages;
	AUTO(mem) uint8_t *buf = malloc(piece * PAGE_BYTES);
	int r = buf ? 0 : -ENOMEM;

	for (uint64_t done = 0; r == 0 && done < h->pages;) {
		uint64_t n = h->pages - done > PIECE_PAGES ? PIECE_PAGES : h->pages - done;

		r = read_full(s->fd, buf, n * PAGE_BYTES);
		if (r < 0)
			return r;
		r = take(s->ops.arg, h->obj, h->vaddr + done * PAGE_BYTES, buf, n);
		done += n;
	}
	return r;
}

static int take_pages(struct sink *s, const struct sink_head *h)
{
	struct sink_obj *o = find_obj(s, h->obj);

	if (!o)
		return err_set(&s->err, ERR_CRIU, EPROTO, "CRIU sent pages of an unopened object");
	if (h->pages == 0 || h->pages > RUN_PAGES_MAX || h->vaddr % PAGE_BYTES ||
	    h->vaddr > VADDR_MAX - h->pages * PAGE_BYTES)
		return err_set(&s->err, ERR_CRIU, EPROTO,
		               "CRIU sent a bad page run: %llu pages at %#llx",
		               (unsigned long long)h->pages, (unsigned long long)h->vaddr);
	if (h->flags & PE_PARENT)
		return runs_add(&o->clean, h->vaddr, h->pages);
	bool lazy = obj_is_task(h->obj) && (h->flags & PE_LAZY);
	int r = runs_add(lazy ? &o->lazy : &o->eager, h->vaddr, h->pages);

	sink_take_fn take = obj_is_shmem(h->obj) ? s->ops.shmem : s->ops.task;

	if (r)
		return r;
	return take ? hand_on(s, h, take) : discard(s, h->pages * PAGE_BYTES);
}

/* Return: 1 the stream is complete; 0 continue; -errno */
static int step(struct sink *s)
{
	uint8_t raw[32];
	struct sink_head h;
	int r = read_full(s->fd, raw, sink_head_bytes(s->criu_version));

	if (r < 0)
		return err_set(&s->err, ERR_CRIU, -r, "CRIU's page stream broke off");
	sink_head_parse(raw, s->criu_version, &h);
	switch (h.cmd) {
	case PS_OPEN2: {
		uint8_t has_parent = s->ops.parent && obj_is_task(h.obj);

		r = open_obj(s, h.obj);
		if (r == 0 && send(s->fd, &has_parent, 1, MSG_NOSIGNAL) != 1)
			r = -errno;
		break;
	}
	case PS_ADD:
		h.flags = PE_PRESENT;
		r = take_pages(s, &h);
		break;
	case PS_ADD_F:
		r = take_pages(s, &h);
		break;
	case PS_PARENT: {
		int32_t none = 0;

		r = send(s->fd, &none, 4, MSG_NOSIGNAL) == 4 ? 0 : -errno;
		break;
	}
	case PS_CLOSE:
	case PS_FORCE_CLOSE: {
		int32_t status = 0;

		r = send(s->fd, &status, 4, MSG_NOSIGNAL) == 4 ? 1 : -errno;
		break;
	}
	default:
		return err_set(&s->err, ERR_CRIU, EPROTO,
		               "CRIU's page stream has an unknown command %u", h.cmd);
	}
	if (r < 0)
		err_set(&s->err, ERR_CRIU, -r, "CRIU's page stream%s%s",
		        r == -EPIPE ? " broke off" : ": ", r == -EPIPE ? "" : strerror(-r));
	return r;
}

static void *sink_main(void *arg)
{
	struct sink *s = arg;
	int r;

	do {
		r = step(s);
	} while (r == 0);
	s->result = r < 0 ? r : 0;
	if (r < 0)
		shutdown(s->fd, SHUT_RDWR); /* CRIU aborts and resumes the tree */
	eventfd_write(s->ended, 1);
	return NULL;
}

int sink_start(struct sink **out, int fd, unsigned int criu_version, const struct sink_ops *ops,
               struct err *e)
{
	AUTO(fd) int own = fd;
	AUTO(sink) struct sink *s = calloc(1, sizeof(*s));
	int bytes = SOCKET_BYTES;

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->fd = s->pipe[0] = s->pipe[1] = s->null = s->ended = -1;
	s->criu_version = criu_version;
	s->ops = *ops;
	if (pipe2(s->pipe, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	fcntl(s->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
	s->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (s->null < 0)
		return err_sys(e, "/dev/null");
	s->ended = eventfd(0, EFD_CLOEXEC);
	if (s->ended < 0)
		return err_sys(e, "eventfd");
	setsockopt(own, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	s->fd = steal_fd(&own);
	int r = pthread_create(&s->thread, NULL, sink_main, s);

	if (r)
		return err_set(e, ERR_SYS, r, "thread for the page stream");
	s->started = true;
	*out = steal(s);
	return 0;
}

/* pthread_clockjoin_np() would do, if ThreadSanitizer knew it */
static bool join(struct sink *s, uint64_t deadline_us)
{
	struct pollfd ended = { .fd = s->ended, .events = POLLIN };
	int n = 1;

	if (!s->started || s->joined)
		return true;
	if (deadline_us != DEADLINE_NEVER)
		while ((n = poll(&ended, 1, deadline_poll_ms(deadline_us))) < 0 && errno == EINTR)
			;
	s->joined = n == 1 && pthread_join(s->thread, NULL) == 0;
	return s->joined;
}

int sink_wait(struct sink *s, uint64_t deadline_us, struct err *e)
{
	if (!join(s, deadline_us))
		return err_set(e, ERR_CRIU, ETIMEDOUT, "CRIU's page stream does not end");
	if (s->result < 0 && e && e->src == ERR_NONE)
		*e = s->err;
	return s->result;
}

const struct sink_obj *sink_objs(const struct sink *s, size_t *n)
{
	*n = s->n_objs;
	return s->objs;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		shutdown(s->fd, SHUT_RDWR);
	join(s, DEADLINE_NEVER);
	for (size_t i = 0; i < s->n_objs; i++) {
		runs_fini(&s->objs[i].lazy);
		runs_fini(&s->objs[i].eager);
		runs_fini(&s->objs[i].clean);
	}
	free(s->objs);
	if (s->fd >= 0)
		close(s->fd);
	if (s->pipe[0] >= 0)
		close(s->pipe[0]);
	if (s->pipe[1] >= 0)
		close(s->pipe[1]);
	if (s->null >= 0)
		close(s->null);
	if (s->ended >= 0)
		close(s->ended);
	free(s);
}
