// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flows.c - the sockets of the stopped tree, one by one: which connections move, which are closed, and what of
 * them is locked.
 */
#include "hauler/net/priv.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "engine/images/img.h"
#include "engine/net/sock_diag.h"
#include "engine/proc/proc.h"
#include "hauler/inspect/priv.h"
#include "hauler/mig/sockets.h"

/* the kernel's; <netinet/tcp.h> and the inspection have others */
#define STATES_STANDING (BIT(1) | BIT(8)) /* ESTABLISHED, CLOSE_WAIT */
#define STATES_GOING    (BIT(4) | BIT(9) | BIT(11)) /* FIN_WAIT1, LAST_ACK, CLOSING */

/* ---- connections without a descriptor ---- */

bool mnet_arrives(void *arg, const struct net_addr *a)
{
	const struct mnet *n = arg;

	for (size_t i = 0; i < n->n_moves; i++)
		if (net_addr_equal(&n->here[i].addr, a))
			return true;
	return net_addr_loopback(a);
}

/* Any program's: without its address the connection is lost. */
static bool is_lost(const struct mnet *n, const struct nlmsghdr *h, struct net_sock *s)
{
	const struct inet_diag_msg *d = NLMSG_DATA(h);

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*d)) || d->idiag_inode)
		return false;
	inspect_sock_of(d, &(struct inspect_end){ 0 }, s);
	return !net_addr_loopback(&s->flow.local) && mnet_arrives((void *)n, &s->flow.local);
}

static int on_lost(void *arg, const struct nlmsghdr *h)
{
	struct mnet *n = arg;
	struct net_sock s;

	if (!is_lost(n, h, &s))
		return 0;
	struct net_flow *v = realloc(n->flows, (n->n_flows + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	s.flow.lost = true;
	n->flows = v;
	v[n->n_flows++] = s.flow;
	return 0;
}

struct count {
	const struct mnet *n;
	unsigned int all;
};

static int on_closing(void *arg, const struct nlmsghdr *h)
{
	struct count *c = arg;
	struct net_sock s;

	c->all += is_lost(c->n, h, &s);
	return 0;
}

static int each_loose(uint32_t states, sock_diag_fn fn, void *arg)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(families); i++) {
		struct inet_diag_req_v2 q = { .sdiag_family = families[i],
			                      .sdiag_protocol = IPPROTO_TCP,
			                      .idiag_states = states };

		r = sock_diag_dump(&q, sizeof(q), fn, arg);
	}
	return r;
}

unsigned int mnet_closing(const struct mnet *n)
{
	struct count c = { .n = n };

	if (n->n_moves)
		each_loose(STATES_GOING, on_closing, &c);
	return c.all;
}

/*
 * Connections without a descriptor do not exist at the destination. Tell their peers, once the tree
 * is there.
 */
static int add_lost(struct mnet *n)
{
	size_t before = n->n_flows;
	/* with many connections the list of established ones is long, and seldom needed */
	int r = each_loose(STATES_GOING | (n->loose_left ? STATES_STANDING : 0), on_lost, n);

	n->loose_left = (unsigned int)(n->n_flows - before);
	return r;
}

/* ---- the tree's own ---- */

bool mnet_moves_clients(const struct mnet *n)
{
	return n->judge.tcp == TCP_MOVE_THEM || n->n_moves;
}

/* Datagrams for other addresses still come to this host afterwards. */
static bool takes_new(struct mnet *n, const struct net_flow *f)
{
	return mnet_moves_clients(n) &&
	       (!f->udp || net_addr_any(&f->local) || mnet_arrives(n, &f->local));
}

/*
 * One connection. A closed one stays here, locked like the others: an undo needs it as it was. If its address
 * goes, only the destination can tell its peer.
 */
static int sort_one(struct mnet *n, size_t k, bool inner, struct err *e)
{
	const struct net_sock *s = &n->socks.v[k];
	struct net_flow *f = &n->flows[n->n_flows];

	*f = s->flow;
	if (f->listens) {
		n->n_flows += takes_new(n, f);
		return 0;
	}
	if (!net_sock_moves(s))
		return 0;
	enum tcp_fate fate = inspect_fate(&n->judge, f, inner);

	if (fate == TCP_FATE_REFUSED) {
		err_set(e, ERR_TARGET, EPERM,
		        "descriptor %d of pid %d is a TCP connection that was made since the look",
		        s->number, s->pid);
		return err_fix(e, "--tcp=close closes it, --move-address=ADDR moves it");
	}
	bool closed = fate == TCP_FATE_CLOSED || !n->moves_tcp;

	n->closed[k] = closed;
	f->cut = fate == TCP_FATE_CUT;
	f->lost = closed && n->n_moves && !net_addr_loopback(&f->local) &&
	          mnet_arrives(n, &f->local);
	f->stays = closed && !f->lost;
	n->n_flows++;
	return 0;
}

/* CRIU takes urgent data for the end of what waits: the rest would be lost. */
static int no_urgent(const struct mnet *n, struct err *e)
{
	AUTO(mem) struct pollfd *p = calloc(n->socks.n + 1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for sockets");
	for (size_t i = 0; i < n->socks.n; i++) {
		const struct net_sock *s = &n->socks.v[i];

		p[i].fd = n->closed[i] || s->flow.listens ? -1 : s->fd;
		p[i].events = POLLPRI;
	}
	if (poll(p, n->socks.n, 0) <= 0)
		return 0;
	for (size_t i = 0; i < n->socks.n; i++)
		if (p[i].revents & POLLPRI) {
			err_set(e, ERR_TARGET, EBUSY,
			        "descriptor %d of pid %d is a TCP connection with urgent data that "
			        "the program has not read",
			        n->socks.v[i].number, n->socks.v[i].pid);
			return err_fix(e, "try again when it has, or --tcp=close");
		}
	return 0;
}

static int sort_all(struct mnet *n, struct err *e)
{
	AUTO(mem) struct net_flow *all = calloc(n->socks.n + 1, sizeof(*all));
	AUTO(net_mates) struct net_mates *mates = NULL;
	int r = 0;

	n->flows = calloc(n->socks.n + 1, sizeof(*n->flows));
	n->closed = calloc(n->socks.n + 1, sizeof(*n->closed));
	for (size_t i = 0; all && i < n->socks.n; i++)
		all[i] = n->socks.v[i].flow;
	if (!all || !n->flows || !n->closed || net_mates_new(&mates, all, n->socks.n) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for sockets");
	for (size_t i = 0; r == 0 && i < n->socks.n; i++)
		r = sort_one(n, i, net_mate(mates, &all[i]) >= 0, e);
	return r < 0 || !n->moves_tcp ? r : no_urgent(n, e);
}

/* The freeze has noted which descriptors are sockets; a recovery has not. */
static int take_socks(struct mig *m, struct err *e)
{
	AUTO(procs) struct proc_list procs = { 0 };
	size_t n;

	if (m->dump.sockets) {
		const struct net_place *v = sockets_places(m->dump.sockets, &n);

		return net_socks_take(v, n, &m->net->socks, e);
	}
	int r = procs_tree(m->opt->pid, &procs, e);

	return r < 0 ? r : net_socks_collect(procs.pid, procs.n, false, &m->net->socks, e);
}

int mnet_sort(struct mig *m, struct err *e)
{
	struct mnet *n = m->net;

	net_socks_fini(&n->socks);
	free(steal(n->flows));
	free(steal(n->closed));
	n->n_flows = 0;
	int r = take_socks(m, e);

	if (r == 0)
		r = sort_all(n, e);
	if (r < 0)
		return r;
	/* where the kernel answers by cookies, a connection can be made after the last look */
	for (size_t i = 0; i < n->socks.n; i++)
		n->loose_left += n->socks.v[i].backlog;
	if (n->n_moves && add_lost(n) == -ENOMEM)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for sockets");
	return 0;
}

/* ---- those that are closed ---- */

int mnet_images(struct mig *m, struct err *e)
{
	const struct mnet *n = m->net;
	AUTO(mem) uint64_t *inode = calloc(n->socks.n + 1, sizeof(*inode));
	size_t k = 0;

	if (!inode)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	for (size_t i = 0; n->moves_tcp && n->closed && i < n->socks.n; i++)
		if (n->closed[i])
			inode[k++] = n->socks.v[i].inode;
	return img_close_connections(m->dump.images_fd, inode, k, e);
}

int mnet_closed(struct mnet *n, Haul__Switch *s, struct err *e)
{
	n->closed_msg = calloc(n->socks.n + 1, sizeof(*n->closed_msg));
	n->closed_ptr = calloc(n->socks.n + 1, sizeof(Haul__Closed *));
	if (!n->closed_msg || !n->closed_ptr)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	for (size_t i = 0; n->closed && i < n->socks.n; i++) {
		Haul__Closed *c = &n->closed_msg[s->n_closed];

		if (!n->closed[i])
			continue;
		haul__closed__init(c);
		c->pid = (uint32_t)n->socks.v[i].pid;
		c->fd = (uint32_t)n->socks.v[i].number;
		n->closed_ptr[s->n_closed++] = c;
	}
	s->closed = n->closed_ptr;
	return 0;
}

/* A socket that a process outside has, too, is that process's. Return: sorted, the caller's; NULL: no memory */
static struct inspect_want *find_holders(const struct mnet *n, const struct inspect *i, size_t *out)
{
	struct inspect_want *want = calloc(n->socks.n + 1, sizeof(*want));
	size_t k = 0;

	for (size_t s = 0; want && s < n->socks.n; s++)
		if (n->closed[s])
			want[k++].inode = n->socks.v[s].inode;
	if (want)
		inspect_outside(i, want, k, false);
	*out = k;
	return want;
}

static void reset_closed(const struct mnet *n, const struct inspect *i)
{
	size_t k = 0;
	AUTO(mem) struct inspect_want *want = i ? find_holders(n, i, &k) : NULL;

	for (size_t s = 0; s < n->socks.n; s++) {
		const struct inspect_want *w = inspect_want_find(want, k, n->socks.v[s].inode);

		if (!n->closed[s])
			continue;
		if (want && (!w || !w->pid))
			net_sock_abort(&n->socks.v[s]);
		else
			net_sock_reset_at_end(&n->socks.v[s]);
	}
}

/* Twice does no harm: a socket that was reset has no peer any more. */
void mnet_reset(struct mnet *n, const struct inspect *i)
{
	AUTO(mem) struct net_flow *v = calloc(n->n_flows + 1, sizeof(*v));
	struct err e = ERR_INIT;
	size_t k = 0;

	for (size_t f = 0; v && f < n->n_flows; f++)
		if (n->flows[f].stays)
			v[k++] = n->flows[f];
	if (n->lock && k && net_lock_del(n->lock, v, k, &e) < 0)
		log_debug("%s", e.msg);
	if (n->closed)
		reset_closed(n, i);
	err_clear(&e);
	for (size_t f = 0; f < n->n_flows; f++)
		if (n->flows[f].cut && net_peer_abort(&n->flows[f], &e) < 0)
			log_warn("cannot reset a connection with a peer on this host, which will "
			         "wait in vain: %s",
			         e.msg);
}
