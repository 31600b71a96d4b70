// SPDX-License-Identifier: GPL-2.0-or-later
/* chan_core.c - a channel's lock, its state, and the wake-ups that all its users share. */
#include "transport/priv.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

void chan_lock(struct chan *c)
{
	pthread_mutex_lock(&c->gate);
	pthread_mutex_lock(&c->ssh);
	pthread_mutex_unlock(&c->gate);
}

void chan_unlock(struct chan *c)
{
	pthread_mutex_unlock(&c->ssh);
}

bool chan_dead(const struct chan *c)
{
	return !ssh_is_connected(c->session) ||
	       (ssh_get_status(c->session) & (SSH_CLOSED | SSH_CLOSED_ERROR));
}

bool chan_pending(const struct chan *c)
{
	return ssh_get_status(c->session) & SSH_WRITE_PENDING;
}

void chan_poke(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* EAGAIN: the counter is full, so it is readable already */
}

/*
 * The peer is leaving and waits until we confirm that we have all it sent: see say_goodbye().
 * We do; from now on a lost connection loses nothing.
 */
static void answer_eof(struct chan *c)
{
	if (!c->eof || c->answered || c->left_in_ssh || chan_dead(c))
		return;
	c->answered = true;
	ssh_channel_send_eof(c->channel);
}

void chan_notify(struct chan *c)
{
	answer_eof(c);
	bool over = c->eof || chan_dead(c) || ssh_channel_is_closed(c->channel);

	if (c->reader.waits && (c->reader.left == 0 || over)) {
		c->reader.waits = false;
		chan_poke(c->wake_reader);
	}
	if (c->writer_waits &&
	    (over || (!chan_pending(c) && ssh_channel_window_size(c->channel) > 0))) {
		c->writer_waits = false;
		chan_poke(c->wake_writer);
	}
}

bool chan_pump(struct chan *c)
{
	return !chan_dead(c) && ssh_event_dopoll(c->event, 0) >= 0;
}

uint64_t chan_unacked(const struct chan *c)
{
	int n = 0;

	return ioctl(c->fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}
