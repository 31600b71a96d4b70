// SPDX-License-Identifier: GPL-2.0-or-later
/* tcp.c - connect by name with a deadline, tune the socket. */
#include "transport/priv.h"

#include <linux/pkt_sched.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"

/* A dead peer is noticed after 30 s, whether we wait for its bytes or for its acks. */
#define KEEPALIVE_IDLE_S  10
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_COUNT   4
#define USER_TIMEOUT_MS   30000

void tcp_tune(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, every = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT;
	unsigned int limit_ms = USER_TIMEOUT_MS;

	/* none of these is worth a failure, and a test may give us another kind of socket */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
}

void tcp_go_first(int fd)
{
	int priority = TC_PRIO_INTERACTIVE, service = IPTOS_DSCP_AF21;

	/*
	 * The queue of this host goes by the priority, those on the way by the service, if they look at it
	 * (RFC 4594). Worth some milliseconds, never a failure.
	 */
	setsockopt(fd, IPPROTO_IP, IP_TOS, &service, sizeof(service));
	setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &service, sizeof(service));
	setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

/* Return: a connected, nonblocking descriptor; -errno without a message */
static int connect_one(const struct addrinfo *ai, uint64_t deadline_us)
{
	AUTO(fd) int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int status = 0, r;
	socklen_t n = sizeof(status);

	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -errno;
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	do {
		r = poll(&p, 1, deadline_poll_ms(deadline_us));
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return -ETIMEDOUT;
	if (r < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &n) < 0)
		return -errno;
	if (status)
		return -status;
	tcp_tune(fd);
	return steal_fd(&fd);
}

/* Each address gets its share of the time: the first may be one that swallows packets. */
static int connect_any(const struct addrinfo *list, uint64_t deadline_us)
{
	uint64_t left = 0;
	int r = -EHOSTUNREACH;

	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
		left++;
	for (const struct addrinfo *ai = list; ai && r < 0; ai = ai->ai_next, left--) {
		uint64_t now = now_us();
		uint64_t share = deadline_us > now ? (deadline_us - now) / left : 0;

		r = connect_one(ai, now + share);
	}
	return r;
}

static int unreachable(const struct chan_target *to, int r, struct err *e)
{
	err_set(e, ERR_LINK, -r, "%s port %u: %s", to->host, to->port, strerror(-r));
	if (r == -ECONNREFUSED)
		return err_fix(e, "start hauld on %s, or name its port with --port", to->host);
	return err_fix(e, "check the network between the hosts, and that port %u is open on %s",
	               to->port, to->host);
}

int tcp_connect(const struct chan_target *to, uint64_t deadline_us, struct err *e)
{
	struct addrinfo *list = NULL;
	int r = tcp_resolve(&list, to->host, to->port, deadline_us);

	if (r == EAI_INPROGRESS) {
		err_set(e, ERR_LINK, ETIMEDOUT, "host %s: no answer from the name service",
		        to->host);
		return err_fix(e, "use the address");
	}
	if (r) {
		err_set(e, ERR_LINK, EHOSTUNREACH, "host %s: %s", to->host, gai_strerror(r));
		return err_fix(e, "check the name, or use the address");
	}
	r = connect_any(list, deadline_us);
	freeaddrinfo(list);
	return r < 0 ? unreachable(to, r, e) : r;
}
