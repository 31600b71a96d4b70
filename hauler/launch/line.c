// SPDX-License-Identifier: GPL-2.0-or-later
/* line.c - the words between front and holder. */
#include "hauler/launch/priv.h"

#include <sys/socket.h>

int line_say(int fd, enum line_word word, int value)
{
	struct line l = { word, value };

	return send(fd, &l, sizeof(l), MSG_NOSIGNAL) == sizeof(l) ? 0 : -errno;
}

int line_hear(int fd, struct line *l)
{
	ssize_t n;

	while ((n = recv(fd, l, sizeof(*l), 0)) < 0 && errno == EINTR)
		;
	return n == sizeof(*l) ? 0 : -EPIPE;
}
