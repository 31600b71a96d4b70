// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * park.c - keep packets that arrive for locked flows, and deliver them after the unlock. Without
 * this the peers would notice by a retransmission time-out, 200 ms or more after the move.
 *
 * Taps see packets before nf_tables drops them. Packets are delivered by a raw socket: a packet
 * sent to an address of this host goes through its loopback as if it had arrived.
 */
#include "engine/net/net.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"
#include "common/log.h"

#define PORTS_MAX    48 /* with more ports: all TCP and UDP, sorted when they are read */
#define PACKET_BYTES 65535
#define QUEUE_BYTES  (16 << 20)
#define KEEP_BYTES   (8u << 20)
#define PROTOCOL_AT4 9
#define PROTOCOL_AT6 6
#define IP6_BYTES    40
#define TCP_BYTES    20
#define TCP_SUM_AT   16
#define UDP_BYTES    8
#define UDP_SUM_AT   6
#define TCP_FLAGS_AT 13
#define TCP_SYN_ACK  0x12
#define TCP_SYN      0x02
#define TCP_ACK      0x10

struct net_park {
	int tap[2]; /* IPv4, IPv6 */
	int raw[2];
	bool bound[2];
	struct net_flow *flows; /* listening ones first, the others in order */
	size_t n, n_listen;
	struct packet {
		uint8_t *data;
		size_t bytes;
		bool copy, stays;
	} * kept;
	size_t n_kept, cap, kept_bytes;
	net_may_fn may; /* which addresses move; NULL: all */
	void *may_arg;
	void *segments; /* TCP segments that are kept: a tsearch() tree */
	uint8_t packet[PACKET_BYTES];
};

int net_park_new(struct net_park **out, struct err *e)
{
	AUTO(net_park) struct net_park *p = calloc(1, sizeof(*p));
	int one = 1, bytes = QUEUE_BYTES;

	if (!p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for packets");
	for (int i = 0; i < 2; i++)
		p->tap[i] = p->raw[i] = -1;
	for (int i = 0; i < 2; i++) {
		/* protocol 0: the tap sees nothing before it is bound */
		p->tap[i] = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		p->raw[i] = socket(i ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
		if (p->tap[i] < 0 || (p->raw[i] < 0 && i == 0))
			return err_sys(e, "sockets for packets");
		setsockopt(p->tap[i], SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
		setsockopt(p->tap[i], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
		setsockopt(p->raw[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	}
	*out = steal(p);
	return 0;
}

/* The ports of @v, each once. Return: their number; PORTS_MAX + 1: too many */
static size_t list_ports(const struct net_flow *v, size_t n, uint16_t *ports)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		size_t at = 0;

		while (at < k && ports[at] != v[i].local_port)
			at++;
		if (at < k)
			continue;
		if (k == PORTS_MAX)
			return PORTS_MAX + 1;
		ports[k++] = v[i].local_port;
	}
	return k;
}

#define OP(code, k)         ((struct sock_filter)BPF_STMT(code, k))
#define JUMP(code, k, t, f) ((struct sock_filter)BPF_JUMP(code, k, t, f))

/* TCP or UDP to one of the ports; the kernel runs this on each packet of the host. */
static int set_filter(int tap, bool v6, const uint16_t *ports, size_t n, struct err *e)
{
	struct sock_filter f[PORTS_MAX + 20];
	size_t k = 0;
	struct sock_fprog prog = { .filter = f };

	f[k++] = OP(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_MARK));
	f[k++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, NET_CRIU_MARK, 0, 1);
	f[k++] = OP(BPF_RET | BPF_K, 0); /* CRIU's own */
	f[k++] = OP(BPF_LD | BPF_B | BPF_ABS, v6 ? PROTOCOL_AT6 : PROTOCOL_AT4);
	f[k++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 2, 0);
	f[k++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 1, 0);
	f[k++] = OP(BPF_RET | BPF_K, 0);
	if (n <= PORTS_MAX) {
		if (v6) {
			f[k++] = OP(BPF_LD | BPF_H | BPF_ABS, IP6_BYTES + 2);
		} else {
			f[k++] = OP(BPF_LDX | BPF_B | BPF_MSH, 0);
			f[k++] = OP(BPF_LD | BPF_H | BPF_IND, 2);
		}
		for (size_t i = 0; i < n; i++)
			f[k++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ports[i], (uint8_t)(n - i), 0);
		f[k++] = OP(BPF_RET | BPF_K, 0);
	}
	f[k++] = OP(BPF_RET | BPF_K, PACKET_BYTES);
	prog.len = (unsigned short)k;
	if (setsockopt(tap, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return err_sys(e, "filter for packets");
	return 0;
}

static int watch_one(struct net_park *p, int i, const uint16_t *ports, size_t n, struct err *e)
{
	struct sockaddr_ll all = { .sll_family = AF_PACKET,
		                   .sll_protocol = htons(i ? ETH_P_IPV6 : ETH_P_IP) };

	if (set_filter(p->tap[i], i, ports, n, e) < 0)
		return -e->code;
	if (!p->bound[i] && bind(p->tap[i], (struct sockaddr *)&all, sizeof(all)) < 0)
		return err_sys(e, "listen for packets");
	p->bound[i] = true;
	return 0;
}

static int by_ends(const void *pa, const void *pb)
{
	const struct net_flow *a = pa, *b = pb;
	int d = (int)b->listens - (int)a->listens;

	if (d == 0)
		d = (int)a->remote_port - (int)b->remote_port;
	if (d == 0)
		d = (int)a->local_port - (int)b->local_port;
	if (d == 0)
		d = memcmp(a->remote.b, b->remote.b, sizeof(a->remote.b));
	return d ? d : memcmp(a->local.b, b->local.b, sizeof(a->local.b));
}

int net_park_watch(struct net_park *p, const struct net_flow *v, size_t n, struct err *e)
{
	uint16_t ports[PORTS_MAX];
	size_t n_ports = list_ports(v, n, ports);
	struct net_flow *copy = calloc(n + 1, sizeof(*copy));
	int r = 0;

	if (!copy)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for packets");
	memcpy(copy, v, n * sizeof(*v));
	free(p->flows);
	p->flows = copy;
	p->n = n;
	qsort(p->flows, n, sizeof(*p->flows), by_ends);
	for (p->n_listen = 0; p->n_listen < n && p->flows[p->n_listen].listens;)
		p->n_listen++;
	for (int i = 0; r == 0 && i < 2; i++)
		r = watch_one(p, i, ports, n_ports, e);
	return r;
}

void net_park_only(struct net_park *p, net_may_fn may, void *arg)
{
	p->may = may;
	p->may_arg = arg;
}

/* ---- packets ---- */

struct seen {
	struct net_addr src, dst;
	uint16_t src_port, dst_port;
	uint8_t flags, transport;
	size_t at; /* for TCP or UDP */
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool look(const uint8_t *p, size_t bytes, struct seen *s)
{
	memset(s, 0, sizeof(*s));
	if (bytes < UDP_BYTES + 20)
		return false;
	if (p[0] >> 4 == 4) {
		s->at = (size_t)(p[0] & 15) * 4;
		s->transport = p[PROTOCOL_AT4];
		s->src.family = s->dst.family = AF_INET;
		memcpy(s->src.b, p + 12, 4);
		memcpy(s->dst.b, p + 16, 4);
		if (be16(p + 6) & 0x3fff) /* a fragment */
			return false;
	} else {
		if (p[0] >> 4 != 6 || bytes < IP6_BYTES)
			return false;
		s->at = IP6_BYTES;
		s->transport = p[PROTOCOL_AT6];
		s->src.family = s->dst.family = AF_INET6;
		memcpy(s->src.b, p + 8, 16);
		memcpy(s->dst.b, p + 24, 16);
	}
	bool udp = s->transport == IPPROTO_UDP;

	if (s->at < 20 || (!udp && s->transport != IPPROTO_TCP) ||
	    bytes < s->at + (udp ? UDP_BYTES : TCP_BYTES))
		return false;
	s->src_port = be16(p + s->at);
	s->dst_port = be16(p + s->at + 2);
	s->flags = udp ? 0 : p[s->at + TCP_FLAGS_AT];
	return true;
}

/*
 * A datagram, a new connection to a listening socket, or a packet of a connection. @stays: it is for
 * this host. Return: is it to be kept?
 */
static bool wanted(const struct net_park *p, const struct seen *s, bool *stays)
{
	struct net_flow key = { .local = s->dst,
		                .remote = s->src,
		                .local_port = s->dst_port,
		                .remote_port = s->src_port };

	bool udp = s->transport == IPPROTO_UDP;

	for (size_t i = 0; (udp || (s->flags & TCP_SYN_ACK) == TCP_SYN) && i < p->n_listen; i++)
		if (p->flows[i].udp == udp && p->flows[i].local_port == s->dst_port &&
		    (net_addr_any(&p->flows[i].local) ||
		     net_addr_equal(&p->flows[i].local, &s->dst))) {
			*stays = p->may && !p->may(p->may_arg, &s->dst);
			return true;
		}
	const struct net_flow *f = udp ? NULL
	                               : bsearch(&key, p->flows + p->n_listen, p->n - p->n_listen,
	                                         sizeof(key), by_ends);

	*stays = f && f->stays;
	return f != NULL;
}

static uint64_t sum16(uint64_t sum, const uint8_t *p, size_t bytes)
{
	for (; bytes > 1; bytes -= 2, p += 2)
		sum += be16(p);
	return bytes ? sum + (uint64_t)(p[0] << 8) : sum;
}

/* Hosts on one machine leave the sum out; merged packets have the sum of the first one. */
static void set_sum(uint8_t *packet, size_t bytes, const struct seen *s)
{
	bool udp = s->transport == IPPROTO_UDP;
	size_t n = s->src.family == AF_INET ? 4 : 16, rest = bytes - s->at;
	uint8_t *at = packet + s->at + (udp ? UDP_SUM_AT : TCP_SUM_AT);
	uint64_t sum = s->transport + rest;

	at[0] = at[1] = 0;
	sum = sum16(sum16(sum, s->src.b, n), s->dst.b, n);
	sum = sum16(sum, packet + s->at, rest);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = udp && sum == 0xffff ? 0 : sum; /* zero would mean: no sum */
	at[0] = (uint8_t)(~sum >> 8);
	at[1] = (uint8_t)~sum;
}

/* Ethernet pads short packets. */
static size_t true_bytes(const uint8_t *p, size_t bytes)
{
	size_t said = p[0] >> 4 == 4 ? be16(p + 2) : (size_t)be16(p + 4) + IP6_BYTES;

	return said < bytes ? said : bytes;
}

struct segment {
	struct net_addr src, dst;
	uint16_t src_port, dst_port;
	uint32_t seq, bytes;
};

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct segment));
}

/* A peer that waits longer than its time-out repeats a segment that is kept already. */
static bool is_again(struct net_park *p, const uint8_t *packet, size_t bytes, const struct seen *s)
{
	size_t head = s->transport == IPPROTO_TCP ? (size_t)(packet[s->at + 12] >> 4) * 4 : bytes;

	if (bytes <= s->at + head || p->kept_bytes + bytes > KEEP_BYTES)
		return false; /* no data, or not kept */
	struct segment *g = calloc(1, sizeof(*g));

	if (!g)
		return false;
	g->src = s->src;
	g->dst = s->dst;
	g->src_port = s->src_port;
	g->dst_port = s->dst_port;
	memcpy(&g->seq, packet + s->at + 4, sizeof(g->seq));
	g->bytes = (uint32_t)(bytes - s->at - head);
	struct segment **at = tsearch(g, &p->segments, by_bytes);

	if (at && *at == g)
		return false;
	free(g);
	return at != NULL;
}

static int keep(struct net_park *p, const uint8_t *packet, size_t bytes, bool is_copy, bool stays)
{
	if (p->kept_bytes + bytes > KEEP_BYTES)
		return 0; /* the peer will send it again */
	if (array_grow(&p->kept, p->n_kept, &p->cap, sizeof(*p->kept)) < 0)
		return -ENOMEM;
	uint8_t *copy = malloc(bytes);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, packet, bytes);
	p->kept[p->n_kept++] = (struct packet){ copy, bytes, is_copy, stays };
	p->kept_bytes += bytes;
	return 0;
}

int net_park_pull(struct net_park *p)
{
	int r = 0;

	for (int i = 0; i < 2; i++) {
		ssize_t n;

		while (r == 0 && (n = recv(p->tap[i], p->packet, PACKET_BYTES, 0)) > 0) {
			size_t bytes = true_bytes(p->packet, (size_t)n);
			struct seen s;
			bool stays;

			if (!look(p->packet, bytes, &s) || !wanted(p, &s, &stays) ||
			    is_again(p, p->packet, bytes, &s))
				continue;
			set_sum(p->packet, bytes, &s);
			r = keep(p, p->packet, bytes, false, stays);
		}
	}
	return r;
}

int net_park_push(struct net_park *p, const uint8_t *packet, size_t bytes)
{
	struct seen s;
	bool stays;

	if (bytes > PACKET_BYTES || !look(packet, bytes, &s) || !wanted(p, &s, &stays))
		return -EPERM;
	return is_again(p, packet, bytes, &s) ? 0 : keep(p, packet, bytes, false, false);
}

int net_park_copy(struct net_park *p, uint8_t *packet, size_t bytes)
{
	struct seen s;

	if (bytes > PACKET_BYTES || !look(packet, bytes, &s))
		return 0; /* longer than any packet that could be sent */
	set_sum(packet, bytes, &s);
	return keep(p, packet, bytes, true, false);
}

size_t net_park_count(const struct net_park *p)
{
	return p->n_kept;
}

bool net_park_stays(const struct net_park *p, size_t i)
{
	return p->kept[i].stays;
}

const uint8_t *net_park_packet(const struct net_park *p, size_t i, size_t *bytes)
{
	*bytes = p->kept[i].bytes;
	return p->kept[i].data;
}

static int inject(const struct net_park *p, const struct packet *k)
{
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct seen s;

	look(k->data, k->bytes, &s);
	memcpy(&to.sin_addr, s.dst.b, 4);
	memcpy(&to6.sin6_addr, s.dst.b, 16);
	ssize_t n = s.dst.family == AF_INET6
	                    ? sendto(p->raw[1], k->data, k->bytes, 0, (void *)&to6, sizeof(to6))
	                    : sendto(p->raw[0], k->data, k->bytes, 0, (void *)&to, sizeof(to));

	if (n < 0)
		log_debug("a packet of %zu bytes cannot be delivered: %s", k->bytes,
		          strerror(errno));
	return n < 0;
}

size_t net_park_release(struct net_park *p)
{
	size_t failed = 0;

	for (size_t i = 0; i < p->n_kept; i++) {
		failed += p->kept[i].copy ? 0 : (size_t)inject(p, &p->kept[i]);
		free(p->kept[i].data);
	}
	p->n_kept = p->kept_bytes = 0;
	tdestroy(p->segments, free);
	p->segments = NULL;
	return failed;
}

/* A peer answers a segment outside its window with its own position. One of the two is outside. */
void net_park_disown(const struct net_park *p, const struct net_flow *f)
{
	uint8_t b[IP6_BYTES + TCP_BYTES] = { 0 };
	bool v4 = f->local.family == AF_INET;
	size_t at = v4 ? 20 : IP6_BYTES;
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct seen s;

	b[0] = v4 ? 0x45 : 0x60;
	b[v4 ? 3 : 5] = v4 ? 20 + TCP_BYTES : TCP_BYTES;
	b[v4 ? 8 : 7] = 64;
	b[v4 ? PROTOCOL_AT4 : PROTOCOL_AT6] = IPPROTO_TCP;
	memcpy(b + (v4 ? 12 : 8), f->local.b, v4 ? 4 : 16);
	memcpy(b + (v4 ? 16 : 24), f->remote.b, v4 ? 4 : 16);
	b[at] = (uint8_t)(f->local_port >> 8);
	b[at + 1] = (uint8_t)f->local_port;
	b[at + 2] = (uint8_t)(f->remote_port >> 8);
	b[at + 3] = (uint8_t)f->remote_port;
	b[at + 12] = TCP_BYTES / 4 << 4;
	b[at + TCP_FLAGS_AT] = TCP_ACK;
	memcpy(&to.sin_addr, f->remote.b, 4);
	memcpy(&to6.sin6_addr, f->remote.b, 16);
	for (int half = 0; half < 2; half++) {
		b[at + 4] = half ? 0x80 : 0;
		look(b, at + TCP_BYTES, &s);
		set_sum(b, at + TCP_BYTES, &s);
		if ((v4 ? sendto(p->raw[0], b, at + TCP_BYTES, 0, (void *)&to, sizeof(to))
		        : sendto(p->raw[1], b, at + TCP_BYTES, 0, (void *)&to6, sizeof(to6))) < 0)
			log_debug("cannot tell a peer: %s", strerror(errno));
	}
}

void net_park_stop(struct net_park *p)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &none };

	for (int i = 0; i < 2; i++)
		if (p->tap[i] >= 0)
			setsockopt(p->tap[i], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

void net_park_free(struct net_park *p)
{
	if (!p)
		return;
	for (int i = 0; i < 2; i++) {
		if (p->tap[i] >= 0)
			close(p->tap[i]);
		if (p->raw[i] >= 0)
			close(p->raw[i]);
	}
	for (size_t i = 0; i < p->n_kept; i++)
		free(p->kept[i].data);
	tdestroy(p->segments, free);
	free(p->kept);
	free(p->flows);
	free(p);
}
