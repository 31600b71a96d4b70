// SPDX-License-Identifier: GPL-2.0-or-later
/* peers.c - the other ends of the tree's connections: in the tree, at a program of this host, elsewhere. */
#include "hauler/inspect/priv.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "engine/net/sock_diag.h"

#define PORT_BYTES (65536 / 8)
#define ST_LISTEN  10 /* <netinet/tcp.h> has it as TCP_LISTEN */

static void to_addr(uint8_t family, const uint32_t raw[4], struct net_addr *a)
{
	const struct in6_addr *six = (const void *)raw;
	bool v4 = family == AF_INET || IN6_IS_ADDR_V4MAPPED(six);

	memset(a, 0, sizeof(*a));
	a->family = v4 ? AF_INET : AF_INET6;
	memcpy(a->b, v4 && family == AF_INET6 ? &raw[3] : raw, v4 ? 4 : 16);
}

void inspect_sock_of(const struct inet_diag_msg *m, const struct inspect_end *end,
                     struct net_sock *s)
{
	*s = (struct net_sock){ .pid = end->pid,
		                .number = end->fd,
		                .fd = -1,
		                .inode = m->idiag_inode,
		                .state = m->idiag_state };
	s->flow.local_port = ntohs(m->id.idiag_sport);
	s->flow.remote_port = ntohs(m->id.idiag_dport);
	s->flow.listens = m->idiag_state == ST_LISTEN;
	to_addr(m->idiag_family, m->id.idiag_src, &s->flow.local);
	to_addr(m->idiag_family, m->id.idiag_dst, &s->flow.remote);
}

struct host {
	struct inspect *i;
	struct net_mates *mates; /* of the connections */
	uint8_t listening[PORT_BYTES]; /* ports on which a program of this host listens, bits */
};

static int on_socket(void *arg, const struct nlmsghdr *m)
{
	struct host *h = arg;
	const struct inet_diag_msg *d = NLMSG_DATA(m);
	struct net_sock s;

	if (m->nlmsg_len < NLMSG_LENGTH(sizeof(*d)) || !d->idiag_inode)
		return 0;
	inspect_sock_of(d, &(struct inspect_end){ 0 }, &s);
	if (s.flow.listens) {
		h->listening[s.flow.local_port / 8] |= (uint8_t)BIT(s.flow.local_port % 8);
		return 0;
	}
	ssize_t k = net_mate(h->mates, &s.flow);

	if (k >= 0)
		h->i->tcp.conns.v[k].peer = s.inode;
	return 0;
}

static void look_at_host(struct host *h)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct inet_diag_req_v2 q = { .sdiag_family = families[i],
			                      .sdiag_protocol = IPPROTO_TCP,
			                      .idiag_states = ~0U };

		sock_diag_dump(&q, sizeof(q), on_socket, h); /* best effort: it is for texts */
	}
}

/* Which processes outside have the other ends? One pass over /proc for all of them. */
static int name_peers(struct inspect *i)
{
	AUTO(mem) struct inspect_want *want = calloc(i->tcp.conns.n + 1, sizeof(*want));
	size_t n = 0;

	if (!want)
		return -ENOMEM;
	for (size_t k = 0; k < i->tcp.conns.n; k++)
		if (i->tcp.conns.v[k].peer && !i->tcp.conns.v[k].inner)
			want[n++].inode = i->tcp.conns.v[k].peer;
	inspect_outside(i, want, n, false);
	for (size_t k = 0; k < i->tcp.conns.n; k++) {
		struct inspect_conn *c = &i->tcp.conns.v[k];
		const struct inspect_want *w = c->inner ? NULL
		                                        : inspect_want_find(want, n, c->peer);

		if (!w || !w->pid)
			continue;
		c->peer_pid = w->pid;
		snprintf(c->peer_comm, sizeof(c->peer_comm), "%s", w->comm);
	}
	return 0;
}

int inspect_peers(struct inspect *i)
{
	AUTO(mem) struct net_flow *flows = calloc(i->tcp.conns.n + 1, sizeof(*flows));
	AUTO(net_mates) struct net_mates *mates = NULL;
	AUTO(mem) struct host *h = calloc(1, sizeof(*h));

	for (size_t k = 0; flows && k < i->tcp.conns.n; k++)
		flows[k] = i->tcp.conns.v[k].sock.flow;
	if (!flows || !h || net_mates_new(&mates, flows, i->tcp.conns.n) < 0)
		return -ENOMEM;
	h->i = i;
	h->mates = mates;
	look_at_host(h);
	for (size_t k = 0; k < i->tcp.conns.n; k++) {
		const struct net_flow *f = &flows[k];

		i->tcp.conns.v[k].inner = net_mate(mates, f) >= 0;
		i->tcp.conns.v[k].incoming = h->listening[f->local_port / 8] &
		                             BIT(f->local_port % 8);
	}
	return name_peers(i);
}
