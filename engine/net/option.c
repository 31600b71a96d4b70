// SPDX-License-Identifier: GPL-2.0-or-later
/* option.c - options of TCP sockets that CRIU does not restore: read at the source, set again. */
#include "engine/net/net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"

/*
 * The protocol uses the numbers of this table: only add to it. Options that a family lacks are left
 * out.
 */
static const struct {
	int level, name;
} options[] = {
	{ IPPROTO_TCP, TCP_USER_TIMEOUT },   { IPPROTO_TCP, TCP_LINGER2 },
	{ IPPROTO_TCP, TCP_SYNCNT },         { IPPROTO_TCP, TCP_NOTSENT_LOWAT },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT },   { IPPROTO_IP, IP_MTU_DISCOVER },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER },
};

_Static_assert(ARRAY_SIZE(options) <= NET_OPTIONS_MAX, "more options than room");

static void read_all(int fd, struct net_options *out)
{
	socklen_t n = sizeof(out->congestion) - 1;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		socklen_t bytes = sizeof(int);

		out->has[i] = getsockopt(fd, options[i].level, options[i].name, &out->value[i],
		                         &bytes) == 0;
	}
	getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, out->congestion, &n);
}

int net_options_read(const struct net_sock *s, struct net_options *out)
{
	static struct net_options fresh[2]; /* the default of a new socket here */
	static bool known[2];
	int domain = AF_INET;
	socklen_t n = sizeof(domain);

	getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &domain, &n);
	int k = domain == AF_INET6;

	if (!known[k]) {
		AUTO(fd) int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);

		read_all(fd, &fresh[k]);
		known[k] = true;
	}
	read_all(s->fd, out);
	int count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		out->has[i] &= !fresh[k].has[i] || out->value[i] != fresh[k].value[i];
		count += out->has[i];
	}
	if (!strcmp(out->congestion, fresh[k].congestion))
		out->congestion[0] = 0;
	return count + (out->congestion[0] != 0);
}

void net_options_write(const struct net_sock *s, const struct net_options *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (o->has[i] && setsockopt(s->fd, options[i].level, options[i].name, &o->value[i],
		                            sizeof(int)) < 0)
			log_warn(
			        "descriptor %d of pid %d: socket option %d of level %d is lost: %s",
			        s->number, s->pid, options[i].name, options[i].level,
			        strerror(errno));
	if (o->congestion[0] && setsockopt(s->fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion,
	                                   (socklen_t)strlen(o->congestion)) < 0)
		log_warn("descriptor %d of pid %d: no congestion control %s here: %s", s->number,
		         s->pid, o->congestion, strerror(errno));
}
