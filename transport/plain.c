// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * plain.c - a channel over a socket of this host whose other end is ours, too: no SSH. docs/ARCHIVE.md.
 *
 * The socket is nonblocking; every wait is a poll() of it and of the channel's cancel eventfd.
 */
#include "transport/priv.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clock.h"

#define PLAIN_IOV_MAX 8

int chan_plain(struct chan **out, int fd, const char *peer, struct err *e)
{
	AUTO(fd) int own = fd;
	int flags = fcntl(own, F_GETFL);
	int cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct chan *c = calloc(1, sizeof(*c));

	if (!c || cancel < 0 || flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) < 0) {
		if (cancel >= 0)
			close(cancel);
		free(c);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a channel");
	}
	pthread_mutex_init(&c->gate, NULL);
	pthread_mutex_init(&c->ssh, NULL);
	turn_init(&c->writers);
	c->wake_reader = c->wake_writer = -1;
	c->cancel = cancel;
	c->fd = steal_fd(&own);
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	*out = c;
	return 0;
}

static int cancelled(struct err *e)
{
	return err_set(e, ERR_STOPPED, ECANCELED, "cancelled");
}

/* Return: 0: try again; -errno */
static int wait_io(struct chan *c, short events, uint64_t deadline_us, struct err *e)
{
	struct pollfd p[2] = { { .fd = c->fd, .events = events },
		               { .fd = c->cancel, .events = POLLIN } };
	int ms = deadline_poll_ms(deadline_us);

	if (ms == 0)
		return err_set(e, ERR_LINK, ETIMEDOUT, "%s did not answer in time", c->peer);
	if (poll(p, 2, ms) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	return p[1].revents ? cancelled(e) : 0;
}

static bool is_cancelled(const struct chan *c)
{
	return __atomic_load_n(&c->cancelled, __ATOMIC_RELAXED);
}

/* Bytes of a read that failed are kept for the next, as chan_read() promises. */
static void give_back(struct chan *c, const uint8_t *buf, size_t bytes)
{
	if (bytes && spill_put(&c->spill, buf, bytes) < bytes)
		__atomic_store_n(&c->cancelled, true, __ATOMIC_SEQ_CST);
}

int plain_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	size_t got = spill_get(&c->spill, buf, bytes);
	int r = 0;

	while (r == 0 && got < bytes) {
		ssize_t n = is_cancelled(c) ? 0 : recv(c->fd, (uint8_t *)buf + got, bytes - got, 0);

		if (is_cancelled(c))
			r = cancelled(e);
		else if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno == ECONNRESET)
			r = err_set(e, ERR_LINK, EPIPE, "%s closed the connection", c->peer);
		else if (errno == EAGAIN || errno == EINTR)
			r = wait_io(c, POLLIN, deadline_us, e);
		else
			r = err_sys(e, "read from %s", c->peer);
	}
	if (r < 0)
		give_back(c, buf, got);
	else
		__atomic_fetch_add(&c->stats.in_bytes, bytes, __ATOMIC_RELAXED);
	return r;
}

/* Take @n bytes off the front of @v. */
static void advance(struct msghdr *m, size_t n)
{
	while (m->msg_iovlen && n >= m->msg_iov->iov_len) {
		n -= m->msg_iov->iov_len;
		m->msg_iov++;
		m->msg_iovlen--;
	}
	if (n) {
		m->msg_iov->iov_base = (uint8_t *)m->msg_iov->iov_base + n;
		m->msg_iov->iov_len -= n;
	}
}

static int write_some(struct chan *c, struct msghdr *m, uint64_t deadline_us, struct err *e)
{
	int r = 0;

	advance(m, 0); /* leading empty pieces */
	while (r == 0 && m->msg_iovlen) {
		ssize_t n = is_cancelled(c) ? 0 : sendmsg(c->fd, m, MSG_NOSIGNAL);

		if (is_cancelled(c))
			return cancelled(e);
		if (n >= 0) {
			c->torn_write = true; /* until the call has succeeded */
			advance(m, (size_t)n);
		} else if (errno == EAGAIN || errno == EINTR) {
			r = wait_io(c, POLLOUT, deadline_us, e);
		} else {
			r = err_set(e, ERR_LINK, ECONNRESET, "%s closed the connection", c->peer);
		}
	}
	return r;
}

int plain_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	struct iovec v[PLAIN_IOV_MAX];
	int r = 0;

	for (int at = 0; r == 0 && at < n; at += PLAIN_IOV_MAX) {
		int k = n - at < PLAIN_IOV_MAX ? n - at : PLAIN_IOV_MAX;
		struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)k };

		memcpy(v, iov + at, (size_t)k * sizeof(*v));
		r = write_some(c, &m, deadline_us, e);
	}
	return r;
}
