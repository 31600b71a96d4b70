// SPDX-License-Identifier: GPL-2.0-or-later
/* chan.c - a channel from the SSH session it is made of to its orderly end. */
#include "transport/priv.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clock.h"

/* How long to wait, at the end of a healthy channel, until the peer has everything. */
#define GOODBYE_MS 1000

struct tr_tuning tr_tuning;

static void take_eof(ssh_session session, ssh_channel channel, void *arg)
{
	struct chan *c = arg;

	(void)session;
	(void)channel;
	c->eof = true;
}

/*
 * From here on libssh never waits: its sessions and the socket are nonblocking.
 * (After a key exchange libssh leaves the socket blocking, and a send() that blocks
 * with the lock held would stop the reader too.)
 */
static int start(struct chan *c, struct err *e)
{
	int flags = fcntl(c->fd, F_GETFL);
	int there = ssh_channel_poll(c->channel, 0);

	if (flags < 0 || fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "socket of a channel");
	ssh_set_blocking(c->session, 0);
	c->left_in_ssh = there > 0 ? (size_t)there : 0;
	c->eof = there == SSH_EOF;
	c->ungranted = SIZE_MAX / 2; /* a wide window from the first read on */
	c->wake_reader = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->wake_writer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_reader < 0 || c->wake_writer < 0 || c->cancel < 0)
		return err_sys(e, "eventfd");
	c->on_data.userdata = c;
	c->on_data.channel_data_function = chan_take_data;
	c->on_data.channel_eof_function = take_eof;
	ssh_callbacks_init(&c->on_data);
	c->event = ssh_event_new();
	if (!c->event || ssh_event_add_session(c->event, c->session) != SSH_OK ||
	    ssh_add_channel_callbacks(c->channel, &c->on_data) != SSH_OK)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a channel");
	return keeper_add(c, e);
}

int chan_wrap(struct chan **out, int fd, ssh_session session, ssh_channel channel, void *owner,
              const char *peer, struct err *e)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c) {
		ssh_free(session);
		close(fd);
		free(owner);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a channel");
	}
	pthread_mutex_init(&c->gate, NULL);
	pthread_mutex_init(&c->ssh, NULL);
	turn_init(&c->writers);
	c->wake_reader = c->wake_writer = c->cancel = -1;
	c->fd = fd;
	c->session = session;
	c->channel = channel;
	c->owner = owner;
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	int r = start(c, e);

	if (r < 0) {
		c->cancelled = true; /* no good-bye */
		chan_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void chan_go_first(struct chan *c)
{
	tcp_go_first(c->fd);
}

void chan_silence(struct chan *c, unsigned int ms)
{
	c->silence_ms = ms;
}

void chan_cancel(struct chan *c)
{
	__atomic_store_n(&c->cancelled, true, __ATOMIC_SEQ_CST);
	if (!c->session)
		shutdown(c->fd, SHUT_RDWR); /* the other end is not to write on for ever */
	chan_poke(c->cancel); /* never read, so every later poll() of it returns at once */
	turn_wake(&c->writers);
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

/*
 * Send end of stream, and wait until the peer has it and so everything before it. If we closed
 * the socket at once, the peer's next bytes (it grants window while it reads) would be answered
 * by a reset, and its libssh would drop what it has not read yet.
 */
static void say_goodbye(struct chan *c)
{
	uint64_t deadline = deadline_in_ms(GOODBYE_MS);

	c->leaving = c->answered = true;
	ssh_channel_send_eof(c->channel);
	while (!chan_dead(c) && (chan_pending(c) || !c->eof)) {
		struct pollfd p = { .fd = c->fd,
			            .events = (short)(POLLIN | (chan_pending(c) ? POLLOUT : 0)) };
		int ms = deadline_poll_ms(deadline);

		if (ms == 0)
			return;
		if (!chan_pump(c))
			poll(&p, 1, ms);
	}
}

static void end_session(struct chan *c)
{
	keeper_remove(c);
	chan_lock(c);
	if (!c->cancelled && !c->torn_write && !chan_dead(c))
		say_goodbye(c);
	if (c->event) {
		ssh_event_remove_session(c->event, c->session);
		ssh_event_free(c->event);
	}
	ssh_free(c->session); /* not ssh_disconnect(): it forgets the descriptor */
	chan_unlock(c);
}

void chan_free(struct chan *c)
{
	if (!c)
		return;
	int keep = errno;

	if (c->session)
		end_session(c);
	auto_fd(&c->fd);
	auto_fd(&c->wake_reader);
	auto_fd(&c->wake_writer);
	auto_fd(&c->cancel);
	free(c->owner);
	spill_fini(&c->spill);
	free(c->stage);
	turn_fini(&c->writers);
	pthread_mutex_destroy(&c->ssh);
	pthread_mutex_destroy(&c->gate);
	free(c);
	errno = keep;
}
