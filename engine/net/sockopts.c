// SPDX-License-Identifier: GPL-2.0-or-later
/* sockopts.c - options of sockets that CRIU does not restore, compared with those of a new socket. */
#include "engine/net/sockopts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/auto.h"
#include "common/log.h"
#include "engine/net/groups.h"

/* Only of a TCP socket that listens or is not connected: of others it says something else. */
#define IDLE 1
/* A stream cannot set it; one that was accepted reads as what the peer has sent. */
#define NO_STREAM 2
/* The number of an interface; it travels as its name. */
#define IFACE 3

/* The wire has numbers of this table: only add to it. A kind of socket that lacks one says so. */
static const struct {
	int level, name, when;
} rows[] = {
	{ SOL_SOCKET, SO_TIMESTAMP, 0 },
	{ SOL_SOCKET, SO_TIMESTAMPNS, 0 },
	{ SOL_SOCKET, SO_TIMESTAMPING, 0 },
	{ SOL_SOCKET, SO_RXQ_OVFL, 0 },
	{ SOL_SOCKET, SO_PEEK_OFF, 0 },
	{ SOL_SOCKET, SO_BUSY_POLL, 0 },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, 0 },
	{ SOL_SOCKET, SO_ZEROCOPY, 0 },
	{ SOL_SOCKET, SO_SELECT_ERR_QUEUE, 0 },
	{ SOL_SOCKET, 69 /* SO_PREFER_BUSY_POLL */, 0 },
	{ SOL_SOCKET, 70 /* SO_BUSY_POLL_BUDGET */, 0 },
	{ SOL_SOCKET, 76 /* SO_PASSPIDFD */, 0 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0 },
	{ IPPROTO_TCP, TCP_LINGER2, 0 },
	{ IPPROTO_TCP, TCP_SYNCNT, 0 },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0 },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, 0 },
	{ IPPROTO_TCP, TCP_MAXSEG, IDLE },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, IDLE },
	{ IPPROTO_TCP, TCP_FASTOPEN, IDLE },
	{ IPPROTO_TCP, TCP_FASTOPEN_CONNECT, IDLE },
	{ IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, IDLE },
	{ IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0 },
	{ IPPROTO_TCP, TCP_SAVE_SYN, IDLE },
	{ IPPROTO_TCP, TCP_INQ, 0 },
	{ IPPROTO_TCP, TCP_CONGESTION, 0 },
	{ IPPROTO_UDP, UDP_SEGMENT, 0 },
	{ IPPROTO_UDP, UDP_GRO, 0 },
	{ IPPROTO_UDP, UDP_NO_CHECK6_TX, 0 },
	{ IPPROTO_UDP, UDP_NO_CHECK6_RX, 0 },
	{ IPPROTO_IP, IP_TOS, 0 },
	{ IPPROTO_IP, IP_TTL, 0 },
	{ IPPROTO_IP, IP_RECVOPTS, 0 },
	{ IPPROTO_IP, IP_RETOPTS, 0 },
	{ IPPROTO_IP, IP_PKTINFO, 0 },
	{ IPPROTO_IP, IP_RECVERR, 0 },
	{ IPPROTO_IP, IP_RECVTTL, 0 },
	{ IPPROTO_IP, IP_RECVTOS, 0 },
	{ IPPROTO_IP, IP_MTU_DISCOVER, 0 },
	{ IPPROTO_IP, IP_TRANSPARENT, 0 },
	{ IPPROTO_IP, IP_RECVORIGDSTADDR, 0 },
	{ IPPROTO_IP, IP_MINTTL, 0 },
	{ IPPROTO_IP, IP_CHECKSUM, 0 },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0 },
	{ IPPROTO_IP, IP_RECVFRAGSIZE, 0 },
	{ IPPROTO_IP, IP_MULTICAST_TTL, NO_STREAM },
	{ IPPROTO_IP, IP_MULTICAST_LOOP, 0 },
	{ IPPROTO_IP, IP_MULTICAST_ALL, 0 },
	{ IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, 0 },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0 },
	{ IPPROTO_IPV6, IPV6_TCLASS, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS, NO_STREAM },
	{ IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0 },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0 },
	{ IPPROTO_IPV6, IPV6_RECVERR, 0 },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 0 },
	{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0 },
	{ IPPROTO_IPV6, IPV6_RECVRTHDR, 0 },
	{ IPPROTO_IPV6, IPV6_RECVHOPOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVDSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVPATHMTU, 0 },
	{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 0 },
	{ IPPROTO_IPV6, IPV6_RECVFRAGSIZE, 0 },
	{ IPPROTO_IPV6, IPV6_DONTFRAG, 0 },
	{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0 },
	{ IPPROTO_IPV6, IPV6_MINHOPCOUNT, 0 },
	{ IPPROTO_IPV6, IPV6_TRANSPARENT, 0 },
	{ IPPROTO_IPV6, IPV6_FREEBIND, 0 },
	{ IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 0 },
	{ IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 0 },
	{ SOL_SOCKET, SO_LOCK_FILTER, 0 },
	{ SOL_SOCKET, SO_INCOMING_CPU, IDLE },
	{ SOL_SOCKET, 61 /* SO_TXTIME */, 0 },
	{ SOL_SOCKET, 74 /* SO_TXREHASH */, IDLE },
	{ SOL_SOCKET, 75 /* SO_RCVMARK */, 0 },
	{ SOL_SOCKET, 82 /* SO_RCVPRIORITY */, 0 },
	{ SOL_SOCKET, 83 /* SO_PASSRIGHTS */, 0 },
	{ IPPROTO_TCP, 33 /* TCP_FASTOPEN_KEY */, IDLE },
	{ IPPROTO_TCP, 37 /* TCP_TX_DELAY */, 0 },
	{ IPPROTO_TCP, 44 /* TCP_RTO_MAX_MS */, 0 },
	{ IPPROTO_TCP, 45 /* TCP_RTO_MIN_US */, 0 },
	{ IPPROTO_TCP, 46 /* TCP_DELACK_MAX_US */, 0 },
	{ IPPROTO_UDP, UDP_CORK, 0 },
	{ IPPROTO_UDP, UDP_ENCAP, 0 },
	{ IPPROTO_IP, IP_OPTIONS, 0 },
	{ IPPROTO_IP, IP_PASSSEC, 0 },
	{ IPPROTO_IP, IP_UNICAST_IF, IFACE },
	{ IPPROTO_IP, 26 /* IP_RECVERR_RFC4884 */, 0 },
	{ IPPROTO_IPV6, IPV6_HOPOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RTHDR, 0 },
	{ IPPROTO_IPV6, IPV6_DSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_UNICAST_IF, IFACE },
	{ IPPROTO_IPV6, 31 /* IPV6_RECVERR_RFC4884 */, 0 },
	{ IPPROTO_IPV6, 11 /* IPV6_FLOWINFO */, 0 },
};

_Static_assert(ARRAY_SIZE(rows) <= SOCKOPTS_ROWS, "more options than room");

/* All options of one socket. */
struct values {
	int domain, type, protocol;
	bool idle;
	socklen_t bytes[SOCKOPTS_ROWS]; /* 0: it has none */
	uint8_t v[SOCKOPTS_ROWS][SOCKOPTS_VALUE_BYTES];
};

/* Rows that a socket of this kind cannot have are not asked for: there may be thousands of sockets. */
static bool may_have(const struct values *s, size_t row)
{
	if (s->type == SOCK_STREAM &&
	    (rows[row].when == NO_STREAM || (rows[row].when == IDLE && !s->idle)))
		return false;
	switch (rows[row].level) {
	case IPPROTO_TCP:
		return s->domain != AF_UNIX && s->type == SOCK_STREAM;
	case IPPROTO_UDP:
		return s->domain != AF_UNIX && s->type == SOCK_DGRAM;
	case IPPROTO_IP:
		return s->domain != AF_UNIX;
	case IPPROTO_IPV6:
		return s->domain == AF_INET6;
	default:
		return true;
	}
}

static int kind_of(int fd, struct values *s)
{
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(int), many = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &s->domain, &n) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &s->type, &n) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &s->protocol, &n) < 0)
		return -errno;
	if (s->domain != AF_UNIX && s->domain != AF_INET && s->domain != AF_INET6)
		return -ENOTSUP;
	s->idle = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &many) == 0 &&
	          (info.tcpi_state == TCP_LISTEN || info.tcpi_state == TCP_CLOSE);
	return 0;
}

/* The kernel's number of an interface, in network order, becomes its name; 0, the default, stays. */
static void name_iface(struct values *s, size_t row)
{
	char name[IF_NAMESIZE] = "";
	uint32_t index = 0;

	memcpy(&index, s->v[row], sizeof(index));
	if (!index || !if_indextoname(ntohl(index), name))
		return;
	s->bytes[row] = sizeof(name);
	memcpy(s->v[row], name, sizeof(name));
}

static void read_all(int fd, struct values *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		s->bytes[i] = SOCKOPTS_VALUE_BYTES;
		if (!may_have(s, i) ||
		    getsockopt(fd, rows[i].level, rows[i].name, s->v[i], &s->bytes[i]) < 0)
			s->bytes[i] = 0;
		else if (rows[i].when == IFACE && s->bytes[i] == sizeof(uint32_t))
			name_iface(s, i);
	}
}

/* Options of a new socket of that kind; the last kind is remembered. */
static const struct values *fresh(const struct values *like)
{
	static struct values s;

	if (s.domain != like->domain || s.type != like->type || s.protocol != like->protocol) {
		AUTO(fd) int fd = socket(like->domain, like->type | SOCK_CLOEXEC, like->protocol);

		memset(&s, 0, sizeof(s));
		if (fd < 0)
			return NULL;
		s.domain = like->domain;
		s.type = like->type;
		s.protocol = like->protocol;
		s.idle = true;
		read_all(fd, &s);
	}
	return &s;
}

int sockopts_read(int fd, struct sockopts *out)
{
	struct values now = { 0 };
	int r = kind_of(fd, &now);
	const struct values *other = r < 0 ? NULL : fresh(&now);

	out->n = out->n_group = 0;
	out->iface[0] = 0;
	if (r < 0 || !other)
		return r < 0 ? r : -ENOTSUP;
	out->domain = now.domain;
	out->type = now.type;
	read_all(fd, &now);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!now.bytes[i] || (now.bytes[i] == other->bytes[i] &&
		                      !memcmp(now.v[i], other->v[i], now.bytes[i])))
			continue;
		struct sockopt *o = &out->v[out->n++];

		o->row = (unsigned int)i;
		o->bytes = (uint8_t)now.bytes[i];
		memcpy(o->value, now.v[i], sizeof(o->value));
	}
	if (now.domain != AF_UNIX && now.type != SOCK_STREAM)
		groups_read(fd, out);
	return (int)(out->n + out->n_group + (out->iface[0] != 0));
}

const char *sockopts_iface(const struct sockopt *o)
{
	return o->row < ARRAY_SIZE(rows) && rows[o->row].when == IFACE && o->bytes == IF_NAMESIZE &&
	                       !o->value[IF_NAMESIZE - 1]
	               ? (const char *)o->value
	               : NULL;
}

/* Return: 0; -1 and errno */
static int write_one(int fd, const struct sockopt *o)
{
	const char *iface = sockopts_iface(o);
	uint32_t index = iface ? htonl(if_nametoindex(iface)) : 0;

	if (iface && !index)
		return -1;
	return setsockopt(fd, rows[o->row].level, rows[o->row].name,
	                  iface ? (const void *)&index : o->value,
	                  iface ? sizeof(index) : o->bytes);
}

void sockopts_write(int fd, const struct sockopts *o, const char *who)
{
	struct values s = { 0 };

	if (kind_of(fd, &s) < 0 || s.domain != o->domain || s.type != o->type)
		return; /* it has become something else on the way */
	for (size_t i = 0; i < o->n; i++) {
		const struct sockopt *v = &o->v[i];

		if (v->row < ARRAY_SIZE(rows) && may_have(&s, v->row) && write_one(fd, v) < 0)
			log_warn("%s: socket option %d of level %d is lost: %s", who,
			         rows[v->row].name, rows[v->row].level, strerror(errno));
	}
	groups_write(fd, o, who);
}
