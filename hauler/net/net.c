// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net.c - the network of the tree, at the source: addresses and connections are handed over, or
 * stay as they were. docs/PROTOCOL.md section 9 has the order on both hosts.
 */
#include "hauler/net/priv.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/net/sock_diag.h"
#include "hauler/inspect/priv.h"

#define QUIET_STEP_US  1000
#define SENT_LIMIT_MS  250 /* a retransmission comes after 200 ms */
#define SHIP_BYTES_MAX (1u << 20)
/* the kernel's; <netinet/tcp.h> and the inspection have others */
#define STATE_SYN_RECV 3
#define STATES_GOING   (BIT(4) | BIT(9) | BIT(11)) /* FIN_WAIT1, LAST_ACK, CLOSING */

/* ---- new connections ---- */

struct half_open {
	const struct net_socks *listening;
	unsigned int n;
};

static int on_half_open(void *arg, const struct nlmsghdr *h)
{
	struct half_open *o = arg;
	const struct inet_diag_msg *d = NLMSG_DATA(h);

	/* a socket with an inode belongs to a process, and moves with it */
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*d)) || d->idiag_inode)
		return 0;
	for (size_t i = 0; i < o->listening->n; i++)
		if (o->listening->v[i].flow.local_port == ntohs(d->id.idiag_sport)) {
			o->n++;
			break;
		}
	return 0;
}

/*
 * Connections that have no descriptor and cannot move: those that are being made, those that the
 * tree has not accepted, and those that it has closed while data is left to send.
 */
static unsigned int count_loose(const struct net_socks *listening)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct half_open o = { .listening = listening };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct inet_diag_req_v2 q = { .sdiag_family = families[i],
			                      .sdiag_protocol = IPPROTO_TCP,
			                      .idiag_states = BIT(STATE_SYN_RECV) | STATES_GOING };

		sock_diag_dump(&q, sizeof(q), on_half_open, &o);
	}
	return o.n + net_socks_backlog(listening);
}

/* Packets of new connections are dropped from here on. @any: are there listening sockets? */
static int lock_listening(struct mig *m, struct net_socks *listening, bool *any, struct err *e)
{
	struct mnet *n = m->net;
	AUTO(mem) struct net_flow *flows = NULL;
	size_t n_pids;
	const pid_t *pids = inspect_pids(m->insp, &n_pids);

	net_socks_room(pids, n_pids);
	int r = net_socks_collect(pids, n_pids, true, listening, e);

	if (r)
		return r;
	ssize_t k = net_socks_flows(listening, &flows);

	if (k < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for sockets");
	*any = k > 0;
	r = net_park_watch(n->park, flows, (size_t)k, e);
	return r ? r : net_lock_add(n->lock, flows, (size_t)k, e);
}

/* Until the tree has accepted all connections that wait, or @deadline. */
static int wait_accepted(struct mig *m, struct net_socks *listening, uint64_t deadline,
                         struct err *e)
{
	struct mnet *n = m->net;
	bool any = false;
	int r = lock_listening(m, listening, &any, e);

	if (r)
		return r;
	while (any && (n->loose_left = count_loose(listening)) && now_us() < deadline &&
	       !mig_stopped(m))
		usleep(QUIET_STEP_US);
	if (mig_stopped(m))
		return err_set(e, ERR_STOPPED, ECANCELED, "stopped");
	n->stuck = n->loose_left ? mnet_closing(n) : 0;
	if (n->loose_left)
		log_warn("%u connections that the tree has not accepted, or has already closed, "
		         "will be reset",
		         n->loose_left);
	return 0;
}

int mnet_quiet(struct mig *m, struct err *e)
{
	struct mnet *n = m->net;
	struct net_socks listening = { 0 };
	uint64_t deadline = deadline_in_ms(m->opt->pol.v.quiet_limit_ms);
	int r = mnet_needs_lock(n) ? net_lock_new(&n->lock, m->id, e) : 0;

	if (r < 0 || !mnet_moves_clients(n) || !n->moves_tcp)
		return r;
	r = wait_accepted(m, &listening, deadline, e);
	net_socks_fini(&listening);
	return r;
}

/* ---- the freeze ---- */

/* Return: number of TCP flows; they come first */
static size_t tcp_first(struct mnet *n)
{
	size_t at = 0;

	for (size_t i = 0; i < n->n_flows; i++)
		if (!n->flows[i].udp) {
			struct net_flow f = n->flows[i];

			n->flows[i] = n->flows[at];
			n->flows[at++] = f;
		}
	return at;
}

static int lock(struct mig *m, struct err *e)
{
	struct mnet *n = m->net;
	int r = mnet_sort(m, e);

	if (r < 0)
		return r;
	size_t n_tcp = tcp_first(n);

	if (net_park_pull(n->park) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for packets");
	if (n->judge.tcp != TCP_MOVE_THEM)
		net_park_only(n->park, mnet_arrives, n);
	if (net_park_watch(n->park, n->flows, n_tcp, e) < 0 ||
	    net_lock_add(n->lock, n->flows, n->n_flows, e) < 0)
		return err_code(e);
	/* a datagram must not be counted both as queued and as seen by the tap */
	for (size_t i = 0; i < n->socks.n; i++)
		if (mnet_moves_clients(n) &&
		    net_udp_waiting(&n->socks.v[i], n->park, mnet_arrives, n) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for datagrams");
	return n_tcp < n->n_flows ? net_park_watch(n->park, n->flows, n->n_flows, e) : 0;
}

/*
 * What the program has closed between the quiet and the stop has no descriptor: its peer would be reset, and could lose
 * the end of the data. The kernel sends it while the tree is stopped, as a rule within one round trip.
 */
static void wait_sent(struct mig *m)
{
	uint64_t deadline = deadline_in_ms(SENT_LIMIT_MS), last = mig_deadline(m);
	unsigned int left = mnet_closing(m->net);

	while (left > m->net->stuck && now_us() < (deadline < last ? deadline : last)) {
		usleep(QUIET_STEP_US);
		left = mnet_closing(m->net);
	}
}

bool mnet_locks(const struct mnet *n)
{
	return n->lock;
}

int mnet_freeze(struct mig *m, struct err *e)
{
	if (!m->net->lock)
		return 0;
	uint64_t t0 = now_us();

	wait_sent(m);
	int r = lock(m, e);

	log_info("flows=%zu lock_us=%llu", m->net->n_flows, (unsigned long long)(now_us() - t0));
	return r;
}

int mnet_note(struct mig *m, struct err *e)
{
	return m->net->lock ? 0 : mnet_sort(m, e);
}

int mnet_give(struct mig *m, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->net->n_moves; i++)
		r = net_move_del(&m->net->here[i], e);
	return r < 0 ? r : mnet_hook(m, HOOK_FROZEN, e);
}

static bool same_flow(const struct net_flow *a, const struct net_flow *b)
{
	return a->udp == b->udp && a->listens == b->listens && a->local_port == b->local_port &&
	       net_addr_equal(&a->local, &b->local) &&
	       (a->listens ||
	        (a->remote_port == b->remote_port && net_addr_equal(&a->remote, &b->remote)));
}

static void fill_options(struct flow_options *f, Haul__Flow *v)
{
	for (size_t i = 0; i < NET_OPTIONS_MAX; i++) {
		if (!f->o.has[i])
			continue;
		haul__sock_option__init(&f->v[i]);
		f->v[i].which = (uint32_t)i;
		f->v[i].value = f->o.value[i];
		f->ptr[v->n_option++] = &f->v[i];
	}
	v->option = f->ptr;
	v->congestion = f->o.congestion;
}

/* Options of sockets that CRIU would lose. Flows and sockets are in about the same order. */
static int add_options(struct mnet *n, struct err *e)
{
	size_t at = 0;

	n->flow_options = calloc(n->socks.n + 1, sizeof(*n->flow_options));
	if (!n->flow_options)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	for (size_t i = 0; i < n->socks.n; i++) {
		struct flow_options *f = &n->flow_options[n->n_flow_options];

		if (n->socks.v[i].flow.udp || !net_options_read(&n->socks.v[i], &f->o))
			continue;
		for (size_t k = 0; k < n->n_flows; k++, at = (at + 1) % n->n_flows)
			if (same_flow(&n->flows[at], &n->socks.v[i].flow)) {
				fill_options(f, n->flow_ptr[at]);
				n->n_flow_options++;
				break;
			}
	}
	return 0;
}

int mnet_switch(struct mig *m, Haul__Switch *s, struct err *e)
{
	struct mnet *n = m->net;

	s->tcp_close = !n->moves_tcp;
	n->flow_msg = calloc(n->n_flows + 1, sizeof(*n->flow_msg));
	n->flow_ptr = calloc(n->n_flows + 1, sizeof(Haul__Flow *));
	if (!n->flow_msg || !n->flow_ptr)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	for (size_t i = 0; i < n->n_flows; i++) {
		const struct net_flow *f = &n->flows[i];
		Haul__Flow *v = n->flow_ptr[i] = &n->flow_msg[i];

		haul__flow__init(v);
		v->local = mnet_addr_msg(&f->local);
		v->local_port = f->local_port;
		v->udp = f->udp;
		v->lost = f->lost;
		v->cut = f->cut;
		if (f->listens)
			continue;
		v->remote = mnet_addr_msg(&f->remote);
		v->remote_port = f->remote_port;
	}
	if (n->moves_tcp && add_options(n, e) < 0)
		return err_code(e);
	for (size_t i = 0; n->lock && i < n->n_flows; i++)
		if (!n->flows[i].stays)
			n->flow_ptr[s->n_flow++] = n->flow_ptr[i];
	s->flow = n->flow_ptr;
	return mnet_closed(n, s, e);
}

int mnet_ship(struct mig *m, struct err *e)
{
	struct mnet *n = m->net;
	Haul__Parked parked = HAUL__PARKED__INIT;
	size_t bytes = 0;

	if (!n->park || net_park_pull(n->park) < 0 || net_park_count(n->park) == n->n_shipped)
		return 0;
	size_t all = net_park_count(n->park), count = 0;
	AUTO(mem) ProtobufCBinaryData *v = calloc(all - n->n_shipped, sizeof(*v));

	if (!v)
		return 0; /* the peers send them again */
	parked.packet = v;
	for (; n->n_shipped < all && bytes < SHIP_BYTES_MAX; n->n_shipped++) {
		if (net_park_stays(n->park, n->n_shipped))
			continue;
		v[count].data = (uint8_t *)net_park_packet(n->park, n->n_shipped, &v[count].len);
		bytes += v[count++].len;
	}
	parked.n_packet = count;
	log_info("parked=%zu bytes=%zu", count, bytes);
	return count ? wire_say(m->link.ctl, HAUL__MSG__BODY_PARKED, &parked, mig_freeze_end(m), e)
	             : 0;
}

/* ---- the tree is at the destination ---- */

void mnet_count(const struct mig *m, unsigned int *moved, unsigned int *lost)
{
	const struct mnet *n = m->net;

	*moved = 0;
	*lost = n ? n->loose_left : 0; /* and those whose peer stays behind */
	for (size_t i = 0; n && n->lock && i < n->n_flows; i++) {
		const struct net_flow *f = &n->flows[i];

		*moved += !f->listens && !f->lost && !f->cut && !f->stays;
		*lost += f->cut;
	}
}

/* The copy here will not run any more: peers of closed connections need not wait until it is killed. */
void mnet_running(struct mig *m)
{
	mnet_reset(m->net, m->insp);
	mnet_hook_late(m, HOOK_RUNNING);
}

/* Moved sockets are in repair mode: they end in silence. Others end with a reset. */
void mnet_end(struct mig *m)
{
	struct mnet *n = m->net;
	struct err e = ERR_INIT;

	if (n && n->park)
		net_park_stop(n->park);
	if (!n)
		return;
	/* a recovery knows its sockets only now */
	if (!n->closed && m->opt && mnet_sort(m, &e) < 0)
		log_warn("connections that do not move are not reset: %s", e.msg);
	mnet_reset(n, NULL);
}

void mnet_done(struct mig *m)
{
	struct mnet *n = m->net;
	struct err e = ERR_INIT;

	if (!n)
		return;
	net_socks_fini(&n->socks);
	free(steal(n->closed));
	/* all sockets that moved are gone: only now may the kernel answer for them */
	if (n->lock && net_lock_open(n->lock, &e) < 0)
		log_warn("%s: %s", e.msg, e.fix);
}

/* ---- undo ---- */

void mnet_undo(struct mig *m)
{
	struct mnet *n = m->net;

	if (n && !n->lock) {
		net_socks_fini(&n->socks);
		free(steal(n->closed));
	}
	if (!n || !n->lock)
		return;
	for (size_t i = 0; i < n->n_moves; i++) {
		struct err e = ERR_INIT;

		if (!n->here[i].gone)
			continue;
		if (net_move_add(&n->here[i], &e) < 0)
			log_err("cannot take the address back: %s", e.msg);
		else
			net_move_announce(&n->here[i]);
	}
	struct err e = ERR_INIT;

	net_socks_repair_off(&n->socks);
	if (n->park)
		net_park_stop(n->park);
	if (net_lock_open(n->lock, &e) < 0)
		log_err("%s: %s", e.msg, e.fix);
	if (n->park && net_park_pull(n->park) == 0)
		net_park_release(n->park);
	net_socks_fini(&n->socks);
	free(steal(n->closed));
}

void mnet_undone(struct mig *m)
{
	if (!m->net)
		return;
	mnet_undo(m);
	/* the destination had the addresses for a moment, and may have announced them */
	for (size_t i = 0; i < m->net->n_moves; i++)
		net_move_announce(&m->net->here[i]);
	mnet_hook_late(m, HOOK_UNDONE);
}
