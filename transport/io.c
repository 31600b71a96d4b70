// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * io.c - bytes over one SSH channel, both ways at once, from several threads.
 *
 * libssh sessions are not thread-safe: one lock goes around every call, and all
 * waiting is done outside of it by poll() on the socket and an eventfd. The thread that
 * holds the lock moves the bytes of all threads ("pumps"): a writer may take the reader's
 * bytes off the socket (they go where the reader wants them, see chan_take_data), a reader
 * may take the window that a writer waits for. So a thread that pumps wakes the others, and
 * keeper.c pumps when no thread is here.
 */
#include "transport/priv.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* What libssh 0.10 puts in one packet: its 32768 less 10. */
#define PACKET_BYTES 32758u

/*
 * One ssh_channel_write(): whole packets, enough of them to make the system calls
 * cheap, and few enough that their copies stay in the cache.
 */
#define PIECE_BYTES (8u * PACKET_BYTES)

/* Pumps (libssh 0.10 reads 4 KiB in each) before the lock is offered to others. */
#define PUMPS_MAX 32

/*
 * How much the peer may send before it hears from us. libssh 0.10 keeps that between 640 and
 * 1280 kB, which at a round trip of 10 ms is 60 MB/s; with this it is five times that.
 */
#define WINDOW_BYTES      (4u << 20)
#define WINDOW_STEP_BYTES (1u << 20)

static int lost(struct chan *c, struct err *e)
{
	const char *why = ssh_get_error(c->session);

	return err_set(e, ERR_LINK, ECONNRESET, "connection to %s lost%s%s", c->peer,
	               why && *why ? ": " : "", why ? why : "");
}

static int closed(struct chan *c, struct err *e)
{
	return err_set(e, ERR_LINK, EPIPE, "%s closed the connection", c->peer);
}

static int late(struct chan *c, struct err *e)
{
	return err_set(e, ERR_LINK, ETIMEDOUT, "%s did not answer in time", c->peer);
}

static int cancelled(struct err *e)
{
	return err_set(e, ERR_STOPPED, ECANCELED, "cancelled");
}

static void unpoke(int fd)
{
	uint64_t n;
	ssize_t r = read(fd, &n, sizeof(n));

	(void)r;
}

/* Wait until the socket or @wake says something. Lock not held. */
static int wait_io(struct chan *c, int wake, bool out_too, uint64_t deadline_us, struct err *e)
{
	struct pollfd p[3] = { { .fd = c->fd, .events = (short)(POLLIN | (out_too ? POLLOUT : 0)) },
		               { .fd = wake, .events = POLLIN },
		               { .fd = c->cancel, .events = POLLIN } };
	int ms = deadline_poll_ms(deadline_us);

	if (ms == 0)
		return late(c, e);
	if (poll(p, 3, ms) < 0 && errno != EINTR)
		return err_sys(e, "poll");
	if (p[2].revents)
		return cancelled(e);
	if (p[1].revents)
		unpoke(wake);
	return 0;
}

/* ---- reading ---- */

int chan_take_data(ssh_session session, ssh_channel channel, void *data, uint32_t bytes,
                   int is_stderr, void *arg)
{
	struct chan *c = arg;
	size_t n = c->reader.left < bytes ? c->reader.left : bytes;

	(void)session;
	(void)channel;
	if (is_stderr || c->leaving)
		return (int)
		        bytes; /* haul never sends on stderr; and nothing is read while we leave */
	if (n) {
		memcpy(c->reader.at, data, n);
		c->reader.at += n;
		c->reader.left -= n;
	}
	n += spill_put(&c->spill, (uint8_t *)data + n, bytes - n);
	if (n < bytes && c->widening) { /* no memory: see widen() */
		__atomic_store_n(&c->cancelled, true, __ATOMIC_SEQ_CST);
		n = bytes;
	}
	c->ungranted += n;
	c->left_in_ssh = bytes - n;
	return (int)n;
}

/*
 * libssh grants a larger window only when a read asks for more than the window. This read
 * returns no bytes: libssh holds none now, and if it takes some from the socket meanwhile,
 * chan_take_data() gets them before the read sees them.
 */
static void widen(struct chan *c)
{
	uint8_t none;

	if (c->ungranted < WINDOW_STEP_BYTES || c->left_in_ssh || c->spill.tail)
		return;
	c->ungranted = 0;
	c->widening = true;
	ssh_channel_read_timeout(c->channel, &none, WINDOW_BYTES, 0, 0);
	c->widening = false;
}

static void reader_got(struct chan *c, size_t n)
{
	c->reader.at += n;
	c->reader.left -= n;
}

/* Bytes that are here already, the oldest first. */
static int take_early(struct chan *c, struct err *e)
{
	reader_got(c, spill_get(&c->spill, c->reader.at, c->reader.left));
	while (c->reader.left && c->left_in_ssh) {
		size_t want = c->left_in_ssh < c->reader.left ? c->left_in_ssh : c->reader.left;
		int n = ssh_channel_read_nonblocking(c->channel, c->reader.at, (uint32_t)want, 0);

		if (n <= 0)
			return lost(c, e);
		reader_got(c, (size_t)n);
		c->left_in_ssh -= (size_t)n;
	}
	return 0;
}

enum step { STEP_DONE, STEP_WAIT, STEP_AGAIN };

/* One step of a read. Lock held. Return: enum step; -errno */
static int read_step(struct chan *c, struct err *e)
{
	bool moved = true;

	if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
		return cancelled(e);
	int r = take_early(c, e);

	if (r < 0)
		return r;
	if (!chan_dead(c) && !c->eof)
		widen(c);
	for (int i = 0; moved && c->reader.left && i < PUMPS_MAX; i++)
		moved = chan_pump(c);
	/* the window that we grant must not wait for the next call */
	if (chan_pending(c))
		chan_pump(c);
	chan_notify(c);
	if (c->reader.left == 0)
		return STEP_DONE;
	if (c->eof && !c->left_in_ssh)
		return closed(c, e);
	if (chan_dead(c) || ssh_channel_is_closed(c->channel))
		return lost(c, e);
	return moved ? STEP_AGAIN : STEP_WAIT;
}

/* A read takes all or nothing: bytes of one that failed are kept for the next. */
static void give_back(struct chan *c, uint8_t *buf, size_t bytes)
{
	if (bytes && spill_put(&c->spill, buf, bytes) < bytes)
		__atomic_store_n(&c->cancelled, true, __ATOMIC_SEQ_CST);
}

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	int r;

	if (!c->session)
		return plain_read(c, buf, bytes, deadline_us, e);
	chan_lock(c);
	c->reader.at = buf;
	c->reader.left = bytes;
	while ((r = read_step(c, e)) > 0) {
		bool pending = chan_pending(c);

		c->reader.waits = r == STEP_WAIT;
		chan_unlock(c);
		if (r == STEP_WAIT)
			r = wait_io(c, c->wake_reader, pending, deadline_us, e);
		else
			r = deadline_poll_ms(deadline_us) ? 0 : late(c, e);
		chan_lock(c);
		c->reader.waits = false;
		if (r < 0)
			break;
	}
	if (r < 0 && c->reader.left)
		give_back(c, buf, bytes - c->reader.left);
	c->reader.left = 0;
	chan_unlock(c);
	if (r)
		return r;
	__atomic_fetch_add(&c->stats.in_bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}

/* ---- writing ---- */

/* One try. Return: bytes taken; 0 no window, or the socket is full; -errno */
static ssize_t write_step(struct chan *c, const void *buf, size_t bytes, struct err *e)
{
	ssize_t r = 0;

	for (int i = 0; i < PUMPS_MAX; i++)
		if ((!chan_pending(c) && ssh_channel_window_size(c->channel)) || !chan_pump(c))
			break;
	uint32_t window = ssh_channel_window_size(c->channel);

	if (c->eof) {
		r = closed(c, e);
	} else if (chan_dead(c) || ssh_channel_is_closed(c->channel)) {
		r = lost(c, e);
	} else if (!chan_pending(c) && window) {
		/* never more than the window: libssh would not flush what it took */
		int n = ssh_channel_write(c->channel, buf,
		                          (uint32_t)(bytes < window ? bytes : window));

		r = n == SSH_ERROR ? lost(c, e) : n < 0 ? 0 : n;
	}
	chan_notify(c);
	return r;
}

/* When a wait of the writer ends. With chan_silence() each byte that the peer takes extends it. */
static uint64_t wait_until(struct chan *c, uint64_t deadline_us)
{
	uint64_t unacked = chan_unacked(c);

	if (deadline_us != DEADLINE_NEVER || !c->silence_ms)
		return deadline_us;
	if (unacked != c->unacked) {
		c->unacked = unacked;
		c->moved_us = now_us();
	}
	return c->moved_us + (uint64_t)c->silence_ms * 1000;
}

static int write_piece(struct chan *c, const uint8_t *p, size_t bytes, uint64_t deadline_us,
                       struct err *e)
{
	while (bytes) {
		if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
			return cancelled(e);
		chan_lock(c);
		ssize_t n = write_step(c, p, bytes < PIECE_BYTES ? bytes : PIECE_BYTES, e);
		bool pending = chan_pending(c);

		c->writer_waits = n == 0;
		chan_unlock(c);
		if (n < 0)
			return (int)n;
		if (n > 0)
			c->torn_write = true; /* until the call has succeeded */
		p += n;
		bytes -= (size_t)n;
		int r = n ? 0 : wait_io(c, c->wake_writer, pending, wait_until(c, deadline_us), e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Wait until libssh holds nothing back: no other call may come for a while. */
static int flush(struct chan *c, uint64_t deadline_us, struct err *e)
{
	for (;;) {
		chan_lock(c);
		for (int i = 0; chan_pending(c) && chan_pump(c) && i < PUMPS_MAX; i++)
			;
		bool pending = chan_pending(c), dead = chan_dead(c);

		c->writer_waits = pending;
		chan_notify(c);
		int r = dead ? lost(c, e) : 0;

		chan_unlock(c);
		if (dead || !pending)
			return r;
		if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
			return cancelled(e);
		r = wait_io(c, c->wake_writer, true, wait_until(c, deadline_us), e);
		if (r < 0)
			return r;
	}
}

/*
 * libssh makes at least one packet and one system call of each write, so pieces smaller than
 * its packets are joined first; that copy is cheaper.
 */
static int write_all(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us,
                     struct err *e)
{
	size_t staged = 0;
	int r = 0;

	for (int i = 0; r == 0 && i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (r == 0 && left) {
			size_t room = PIECE_BYTES - staged, m = left < room ? left : room;

			if (staged == 0 && (left >= PIECE_BYTES || n == 1)) {
				r = write_piece(c, p, m, deadline_us, e);
			} else {
				memcpy(c->stage + staged, p, m);
				staged += m;
			}
			p += m;
			left -= m;
			if (r < 0)
				return r;
			if (staged == PIECE_BYTES) {
				r = write_piece(c, c->stage, staged, deadline_us, e);
				staged = 0;
			}
		}
	}
	if (r < 0)
		return r;
	if (staged)
		r = write_piece(c, c->stage, staged, deadline_us, e);
	return r < 0 ? r : flush(c, deadline_us, e);
}

static int write_turn(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us,
                      struct err *e)
{
	if (__atomic_load_n(&c->cancelled, __ATOMIC_RELAXED))
		return cancelled(e);
	if (c->torn_write)
		return err_set(e, ERR_LINK, ECONNRESET,
		               "an earlier message to %s was cut off in the middle", c->peer);
	c->moved_us = now_us();
	bool plain = !c->session;

	if (!plain && n > 1 && !c->stage)
		c->stage = malloc(PIECE_BYTES);
	if (!plain && n > 1 && !c->stage)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to send");
	int r = plain ? plain_write(c, iov, n, deadline_us, e)
	              : write_all(c, iov, n, deadline_us, e);

	if (r)
		return r;
	c->torn_write = false;
	return 0;
}

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	uint64_t bytes = 0;
	int r = turn_take(&c->writers, &c->cancelled, deadline_us);

	if (r == -ECANCELED)
		return cancelled(e);
	if (r < 0)
		return late(c, e);
	r = write_turn(c, iov, n, deadline_us, e);
	turn_give(&c->writers);
	for (int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	if (r)
		return r;
	__atomic_fetch_add(&c->stats.out_bytes, bytes, __ATOMIC_RELAXED);
	return 0;
}
