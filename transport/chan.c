// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * chan.c - bytes over one SSH channel, both ways at once, from several threads.
 *
 * libssh sessions are not thread-safe, so one mutex goes around every call of it
 * and all waiting is done outside, by poll() on the socket and two eventfds: a
 * call made by a writer may take the reader's bytes off the socket, and a call
 * made by the reader may take the window that a writer waits for. Whoever pumps
 * wakes the other.
 */
#include "transport/priv.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/clock.h"

/* One libssh write: large enough to be cheap, small enough to let the reader in. */
#define WRITE_PIECE (256u << 10)

/* While waiting, look again at least this often, in case a wake-up was for another. */
#define RECHECK_MS 1000

static void poke(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

static void unpoke(int fd)
{
	uint64_t n;
	ssize_t r = read(fd, &n, sizeof(n));

	(void)r;
}

int chan_wrap(struct chan **out, ssh_session session, ssh_channel channel, const char *peer,
              struct err *e)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c) {
		ssh_channel_free(channel);
		ssh_free(session);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a channel");
	}
	pthread_mutex_init(&c->ssh, NULL);
	pthread_mutex_init(&c->write, NULL);
	c->session = session;
	c->channel = channel;
	c->fd = ssh_get_fd(session);
	c->wake_reader = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->wake_writer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	ssh_set_blocking(session, 0);
	c->event = ssh_event_new();
	if (c->wake_reader < 0 || c->wake_writer < 0 || c->cancel < 0 || !c->event ||
	    ssh_event_add_session(c->event, session) != SSH_OK) {
		chan_free(c);
		return err_set(e, ERR_SYS, EMFILE, "no descriptors for a channel");
	}
	*out = c;
	return 0;
}

/* What moved on the socket may be for somebody else. The mutex is held. */
static void pump(struct chan *c)
{
	ssh_event_dopoll(c->event, 0);
}

static int lost(struct chan *c, struct err *e)
{
	const char *why = ssh_get_error(c->session);

	return err_set(e, ERR_LINK, ECONNRESET, "connection lost%s%s", why && *why ? ": " : "",
	               why ? why : "");
}

static int cancelled(struct err *e)
{
	return err_set(e, ERR_STOPPED, ECANCELED, "cancelled");
}

/* Wait until the socket or @wake says something. */
static int wait_io(struct chan *c, int wake, bool out_too, uint64_t deadline_us, struct err *e)
{
	struct pollfd p[3] = { { .fd = c->fd, .events = (short)(POLLIN | (out_too ? POLLOUT : 0)) },
		               { .fd = wake, .events = POLLIN },
		               { .fd = c->cancel, .events = POLLIN } };
	int ms = deadline_poll_ms(deadline_us);

	if (ms == 0)
		return err_set(e, ERR_LINK, ETIMEDOUT, "the peer did not answer in time");
	if (poll(p, 3, ms < 0 || ms > RECHECK_MS ? RECHECK_MS : ms) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	if (p[2].revents)
		return cancelled(e);
	if (p[1].revents)
		unpoke(wake);
	return 0;
}

/* One try. Return: bytes; 0 nothing now; -errno. *pending: output waits for POLLOUT */
static ssize_t try_read(struct chan *c, void *buf, size_t bytes, bool *pending, struct err *e)
{
	pthread_mutex_lock(&c->ssh);
	int n = ssh_channel_read_nonblocking(c->channel, buf, (uint32_t)bytes, 0);

	if (n == 0) {
		pump(c);
		n = ssh_channel_read_nonblocking(c->channel, buf, (uint32_t)bytes, 0);
	}
	bool eof = n <= 0 && (ssh_channel_is_eof(c->channel) || ssh_channel_is_closed(c->channel));
	bool alive = ssh_is_connected(c->session);

	*pending = ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
	bool wake = __atomic_load_n(&c->writer_waits, __ATOMIC_RELAXED);
	ssize_t r = n;

	if (n == SSH_EOF || eof)
		r = err_set(e, ERR_LINK, EPIPE, "the peer closed the connection");
	else if (n < 0 || !alive)
		r = lost(c, e);
	pthread_mutex_unlock(&c->ssh);
	if (wake)
		poke(c->wake_writer);
	return r;
}

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	for (size_t got = 0; got < bytes;) {
		bool pending = false;

		if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
			return cancelled(e);
		ssize_t n = try_read(c, (char *)buf + got, bytes - got, &pending, e);

		if (n < 0)
			return (int)n;
		got += (size_t)n;
		if (n == 0) {
			int r = wait_io(c, c->wake_reader, pending, deadline_us, e);

			if (r < 0)
				return r;
		}
	}
	__atomic_fetch_add(&c->stats.in_bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

/* One try. Return: bytes taken; 0 the window or the socket is full; -errno */
static ssize_t try_write(struct chan *c, const void *buf, size_t bytes, bool *pending,
                         struct err *e)
{
	ssize_t r = 0;

	pthread_mutex_lock(&c->ssh);
	if ((ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING) ||
	    ssh_channel_window_size(c->channel) == 0)
		pump(c);
	*pending = ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
	if (!ssh_is_connected(c->session) || ssh_channel_is_closed(c->channel)) {
		r = lost(c, e);
	} else if (!*pending && ssh_channel_window_size(c->channel) > 0) {
		uint32_t window = ssh_channel_window_size(c->channel);
		int n = ssh_channel_write(c->channel, buf,
		                          (uint32_t)(bytes < window ? bytes : window));

		r = n == SSH_ERROR ? lost(c, e) : n < 0 ? 0 : n;
		*pending = ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
	}
	/* the pump may have taken what the reader waits for */
	bool wake = r < 0 || ssh_channel_is_eof(c->channel) || ssh_channel_poll(c->channel, 0) != 0;

	pthread_mutex_unlock(&c->ssh);
	if (wake)
		poke(c->wake_reader);
	return r;
}

static int write_piece(struct chan *c, const uint8_t *p, size_t bytes, uint64_t deadline_us,
                       struct err *e)
{
	while (bytes) {
		bool pending = false;

		if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
			return cancelled(e);
		__atomic_store_n(&c->writer_waits, true, __ATOMIC_RELAXED);
		ssize_t n = try_write(c, p, bytes < WRITE_PIECE ? bytes : WRITE_PIECE, &pending, e);

		if (n < 0)
			return (int)n;
		p += n;
		bytes -= (size_t)n;
		if (n == 0) {
			int r = wait_io(c, c->wake_writer, pending, deadline_us, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Nothing may stay in libssh's buffer when nobody pumps any more. */
static int flush(struct chan *c, uint64_t deadline_us, struct err *e)
{
	for (;;) {
		pthread_mutex_lock(&c->ssh);
		if (ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING)
			pump(c);
		bool pending = ssh_get_poll_flags(c->session) & SSH_WRITE_PENDING;
		bool wake = ssh_channel_poll(c->channel, 0) != 0;
		bool alive = ssh_is_connected(c->session);

		pthread_mutex_unlock(&c->ssh);
		if (wake)
			poke(c->wake_reader);
		if (!alive)
			return lost(c, e);
		if (!pending)
			return 0;
		if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
			return cancelled(e);
		int r = wait_io(c, c->wake_writer, true, deadline_us, e);

		if (r < 0)
			return r;
	}
}

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	size_t bytes = 0;
	int r = 0;

	pthread_mutex_lock(&c->write);
	for (int i = 0; r == 0 && i < n; i++) {
		r = write_piece(c, iov[i].iov_base, iov[i].iov_len, deadline_us, e);
		bytes += iov[i].iov_len;
	}
	if (r == 0)
		r = flush(c, deadline_us, e);
	__atomic_store_n(&c->writer_waits, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&c->write);
	if (r == 0)
		__atomic_fetch_add(&c->stats.out_bytes, bytes, __ATOMIC_RELAXED);
	return r;
}

void chan_cancel(struct chan *c)
{
	__atomic_store_n(&c->cancelled, true, __ATOMIC_RELAXED);
	poke(c->cancel);
}

void chan_get_stats(struct chan *c, struct chan_stats *st)
{
	st->in_bytes = __atomic_load_n(&c->stats.in_bytes, __ATOMIC_RELAXED);
	st->out_bytes = __atomic_load_n(&c->stats.out_bytes, __ATOMIC_RELAXED);
}

const char *chan_peer(const struct chan *c)
{
	return c->peer;
}

void chan_free(struct chan *c)
{
	if (!c)
		return;
	if (c->event) {
		ssh_event_remove_session(c->event, c->session);
		ssh_event_free(c->event);
	}
	if (c->channel) {
		ssh_channel_send_eof(c->channel);
		ssh_channel_close(c->channel);
		ssh_channel_free(c->channel);
	}
	ssh_disconnect(c->session);
	ssh_free(c->session);
	if (c->wake_reader >= 0)
		close(c->wake_reader);
	if (c->wake_writer >= 0)
		close(c->wake_writer);
	if (c->cancel >= 0)
		close(c->cancel);
	free(c->owner);
	pthread_mutex_destroy(&c->ssh);
	pthread_mutex_destroy(&c->write);
	free(c);
}
