// SPDX-License-Identifier: GPL-2.0-or-later
/* pass.c - pass a stream on without waiting for its reader while there is something else to do. */
#include "hauler/launch/priv.h"

#include <fcntl.h>
#include <poll.h>

void pass_wants(const struct pass *c, bool held, struct pollfd *p)
{
	*p = (struct pollfd){ .fd = -1 };
	if (c->over)
		return;
	if (c->n)
		*p = (struct pollfd){ .fd = c->to, .events = POLLOUT };
	else if (!held)
		*p = (struct pollfd){ .fd = c->from, .events = POLLIN };
}

static void take(struct pass *c)
{
	ssize_t n = read(c->from, c->buf, sizeof(c->buf));

	if (n > 0) {
		c->n = (size_t)n;
		c->at = 0;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->over = true;
	}
}

static void put(struct pass *c)
{
	ssize_t n = write(c->to, c->buf + c->at, c->n);

	if (n > 0) {
		c->at += (size_t)n;
		c->n -= (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->over = true;
		c->n = 0;
	}
}

bool pass_step(struct pass *c, const struct pollfd *p)
{
	if (c->over || !p->revents)
		return true;
	if (p->events & POLLOUT)
		put(c);
	else
		take(c);
	return !c->over;
}

void pass_flush(struct pass *c)
{
	while (!c->over && c->n) {
		struct pollfd p = { .fd = c->to, .events = POLLOUT };

		if (poll(&p, 1, -1) > 0)
			put(c);
	}
}

void pass_drain(struct pass *c)
{
	pass_flush(c);
	fcntl(c->from, F_SETFL, O_NONBLOCK);
	while (!c->over) {
		take(c);
		if (!c->n)
			return;
		pass_flush(c);
	}
}
