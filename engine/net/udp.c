// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * udp.c - datagrams that a stopped program has not read yet, as packets. CRIU does not dump them.
 * They are only peeked at, so that the socket still has them if the move is undone.
 */
#include "engine/net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DATAGRAMS_MAX 65536
#define DATA_MAX      65507
#define HEAD_MAX      48 /* headers of IPv6 and UDP */
#define IP6_BYTES     40
#define UDP_BYTES     8
#define TTL           64

/* A socket option that we change for a moment. */
struct was {
	int level, name, value;
};

static void set_option(int fd, struct was *w, int level, int name, int value)
{
	socklen_t n = sizeof(w->value);

	*w = (struct was){ .level = level, .name = name };
	if (getsockopt(fd, level, name, &w->value, &n) < 0)
		w->level = -1;
	setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_back(int fd, const struct was *w)
{
	if (w->level >= 0)
		setsockopt(fd, w->level, w->name, &w->value, sizeof(w->value));
}

/* The destination address of the datagram: a socket may be bound to any address. */
static void take_dest(struct msghdr *h, struct net_addr *a)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo i;

			memcpy(&i, CMSG_DATA(c), sizeof(i));
			*a = (struct net_addr){ .family = AF_INET };
			memcpy(a->b, &i.ipi_addr, 4);
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo i;

			memcpy(&i, CMSG_DATA(c), sizeof(i));
			if (IN6_IS_ADDR_V4MAPPED(&i.ipi6_addr)) {
				*a = (struct net_addr){ .family = AF_INET };
				memcpy(a->b, i.ipi6_addr.s6_addr + 12, 4);
			} else {
				*a = (struct net_addr){ .family = AF_INET6 };
				memcpy(a->b, &i.ipi6_addr, 16);
			}
		}
	}
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The headers, at the end of @head; sums are left to net_park_copy(). Return: their length */
static size_t put_heads(uint8_t *p, const struct net_flow *f, size_t bytes)
{
	size_t ip = f->local.family == AF_INET ? sizeof(struct iphdr) : IP6_BYTES;

	memset(p, 0, ip + UDP_BYTES);
	if (f->local.family == AF_INET) {
		p[0] = 0x45;
		put16(p + 2, ip + UDP_BYTES + bytes);
		p[8] = TTL;
		p[9] = IPPROTO_UDP;
		memcpy(p + 12, f->remote.b, 4);
		memcpy(p + 16, f->local.b, 4);
	} else {
		p[0] = 0x60;
		put16(p + 4, UDP_BYTES + bytes);
		p[6] = IPPROTO_UDP;
		p[7] = TTL;
		memcpy(p + 8, f->remote.b, 16);
		memcpy(p + 24, f->local.b, 16);
	}
	put16(p + ip, f->remote_port);
	put16(p + ip + 2, f->local_port);
	put16(p + ip + 4, UDP_BYTES + bytes);
	return ip + UDP_BYTES;
}

/* One datagram. Return: 1; 0: there are no more; -ENOMEM */
static int take_one(const struct net_sock *s, struct net_park *park, uint8_t *buf, net_may_fn may,
                    void *arg)
{
	struct sockaddr_storage from = { 0 };
	char control[256];
	uint8_t head[HEAD_MAX];
	struct iovec io = { buf + HEAD_MAX, DATA_MAX };
	struct msghdr h = { .msg_name = &from,
		            .msg_namelen = sizeof(from),
		            .msg_iov = &io,
		            .msg_iovlen = 1,
		            .msg_control = control,
		            .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(s->fd, &h, MSG_PEEK | MSG_DONTWAIT);
	struct net_flow f = s->flow;

	if (n < 0)
		return 0;
	take_dest(&h, &f.local);
	if (!net_addr_take(&from, &f.remote, &f.remote_port) || f.remote.family != f.local.family ||
	    net_addr_any(&f.local) || !may(arg, &f.local))
		return 1;
	size_t heads = put_heads(head, &f, (size_t)n);

	memcpy(buf + HEAD_MAX - heads, head, heads);
	return net_park_copy(park, buf + HEAD_MAX - heads, heads + (size_t)n) < 0 ? -ENOMEM : 1;
}

int net_udp_waiting(const struct net_sock *s, struct net_park *park, net_may_fn may, void *arg)
{
	AUTO(mem) uint8_t *buf = malloc(HEAD_MAX + DATA_MAX);
	struct was v4, v6, peek;
	int r = buf ? 1 : -ENOMEM;

	if (!s->flow.udp || r < 0)
		return r < 0 ? r : 0;
	set_option(s->fd, &v4, IPPROTO_IP, IP_PKTINFO, 1);
	set_option(s->fd, &v6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	set_option(s->fd, &peek, SOL_SOCKET, SO_PEEK_OFF, 0); /* each peek sees the next one */
	for (int i = 0; r > 0 && i < DATAGRAMS_MAX; i++)
		r = take_one(s, park, buf, may, arg);
	set_back(s->fd, &peek);
	set_back(s->fd, &v6);
	set_back(s->fd, &v4);
	return r < 0 ? r : 0;
}
