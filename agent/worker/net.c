// SPDX-License-Identifier: GPL-2.0-or-later
/* net.c - the network of the tree at the destination. docs/PROTOCOL.md section 9. */
#include "agent/worker/net.h"

#include <jansson.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mig/mig.h"
#include "common/clock.h"
#include "common/hook.h"
#include "common/log.h"
#include "engine/proc/proc.h"
#include "engine/net/net.h"
#include "transport/msg/haul.pb-c.h"

#define LOCALS_MAX 4096
#define FLOWS_MAX  1000000

struct kept_options {
	struct net_flow flow;
	struct net_options o;
};

struct net_in {
	struct hooks hooks;
	struct net_keep *keep;
	struct net_lock *lock;
	struct net_park *park;
	struct net_flow *flows; /* of SWITCH */
	size_t n_flows;
	struct kept_options *options; /* only of sockets that have some */
	size_t n_options;
};

/* ---- the offer ---- */

static int take_addr(const ProtobufCBinaryData *d, struct net_addr *a)
{
	if (d->len != 4 && d->len != 16)
		return -EBADMSG;
	memset(a, 0, sizeof(*a));
	a->family = d->len == 4 ? AF_INET : AF_INET6;
	memcpy(a->b, d->data, d->len);
	return 0;
}

static int take_move(struct net_keep *n, const Haul__Move *v)
{
	struct net_move *m = &n->move[n->n_moves];

	if (n->n_moves == NET_MOVES_MAX || take_addr(&v->addr, &m->addr) < 0 || v->prefix == 0 ||
	    v->prefix > v->addr.len * 8 || !v->iface[0] || strlen(v->iface) >= sizeof(m->iface) ||
	    strchr(v->iface, '/') || (v->broadcast.len && v->broadcast.len != 4) ||
	    net_addr_any(&m->addr) || net_addr_loopback(&m->addr))
		return -EBADMSG;
	m->prefix = (uint8_t)v->prefix;
	m->scope = (uint8_t)v->scope;
	m->flags = v->flags & IFA_F_NOPREFIXROUTE;
	strcpy(m->iface, v->iface);
	m->has_broadcast = v->broadcast.len == 4;
	if (m->has_broadcast)
		memcpy(m->broadcast, v->broadcast.data, 4);
	n->n_moves++;
	return 0;
}

static int check_move(const struct net_move *m, struct findings *f, struct err *e)
{
	char text[NET_ADDR_TEXT];
	int here = net_addr_here(&m->addr, e);

	net_addr_text(&m->addr, text);
	if (here < 0)
		return here;
	if (here)
		return finding_add(f, SEV_BLOCKER, "address-taken",
		                   "remove it there, or omit --move-address",
		                   "the destination already has the address %s", text);
	if (!if_nametoindex(m->iface))
		return finding_add(f, SEV_BLOCKER, "interface-missing",
		                   "--move-address=ADDR@INTERFACE names the one at the destination",
		                   "the destination has no interface %s for %s", m->iface, text);
	return 0;
}

static int check_local(const struct net_addr *a, struct findings *f, struct err *e)
{
	char text[NET_ADDR_TEXT];
	int here = net_addr_here(a, e);

	if (here < 0)
		return here;
	return here ? 0
	            : finding_add(
	                      f, SEV_BLOCKER, "address-missing",
	                      "--move-address moves it, --tcp=close closes them",
	                      "connections of %s are to move, and the destination does not have "
	                      "that address",
	                      net_addr_text(a, text));
}

/* Make a lock without flows, and remove it: can this host do it? */
static int check_lock(struct wrk *w, struct findings *f)
{
	AUTO(net_lock) struct net_lock *l = NULL;
	struct err why = ERR_INIT;

	if (net_lock_new(&l, w->route, &why) == 0 && net_lock_open(l, &why) == 0)
		return 0;
	return finding_add(f, SEV_BLOCKER, "no-nf-tables",
	                   "modprobe nf_tables on the destination, or --tcp=close",
	                   "the destination cannot lock connections: %s", why.msg);
}

static int take_moves(struct net_keep *k, const Haul__Net *net)
{
	for (size_t i = 0; i < net->n_move; i++)
		if (take_move(k, net->move[i]) < 0)
			return -EBADMSG;
	return net->n_local > LOCALS_MAX ? -EBADMSG : 0;
}

/* Everything that moves needs its address here, and a lock. -ENOMEM: for findings */
static int check_net(struct wrk *w, const Haul__Net *net, struct findings *f, struct err *e)
{
	const struct net_keep *k = w->net->keep;

	for (size_t i = 0; i < k->n_moves; i++) {
		int r = check_move(&k->move[i], f, e);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < net->n_local; i++) {
		struct net_addr a;

		if (take_addr(&net->local[i], &a) < 0)
			return err_set(e, ERR_PEER, EBADMSG, "the offer has an invalid address");
		int r = check_local(&a, f, e);

		if (r < 0)
			return r;
	}
	return k->tcp_move || k->n_moves ? check_lock(w, f) : 0;
}

int net_in_offer(struct wrk *w, const Haul__Net *net, struct findings *f, struct err *e)
{
	struct net_in *n = w->net = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the network");
	n->keep = &w->keep->net;
	if (hook_load(&n->hooks, w->conf->config, e) < 0)
		return -e->code;
	if (!net)
		return 0;
	n->keep->tcp_move = net->tcp_move;
	if (take_moves(n->keep, net) < 0)
		return err_set(e, ERR_PEER, EBADMSG, "the offer has an invalid address");
	int r = check_net(w, net, f, e);

	return r == -ENOMEM ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : r;
}

/* ---- hooks ---- */

static int hook(struct wrk *w, enum hook_point p, struct err *e)
{
	json_t *o = json_object(), *a = json_array();

	for (size_t i = 0; i < w->net->keep->n_moves; i++) {
		char text[NET_ADDR_TEXT];

		json_array_append_new(
		        a,
		        json_sprintf("%s/%u@%s", net_addr_text(&w->net->keep->move[i].addr, text),
		                     w->net->keep->move[i].prefix, w->net->keep->move[i].iface));
	}
	json_object_set_new(o, "point", json_string(hook_name(p)));
	json_object_set_new(o, "side", json_string("destination"));
	json_object_set_new(o, "migration", json_sprintf("%016llx", (unsigned long long)w->route));
	json_object_set_new(o, "pid", json_integer(w->offer.pids.n ? w->offer.pids.v[0] : 0));
	json_object_set_new(o, "addresses", a);
	AUTO(mem) char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return text ? hook_run(&w->net->hooks, p, text, e)
	            : err_set(e, ERR_SYS, ENOMEM, "no memory for a hook");
}

static void hook_late(struct wrk *w, enum hook_point p)
{
	struct err e = ERR_INIT;

	if (hook(w, p, &e) < 0)
		log_warn("%s", e.msg);
}

/* ---- arrival ---- */

static int take_flow(const Haul__Flow *v, struct net_flow *f)
{
	memset(f, 0, sizeof(*f));
	f->listens = v->remote.len == 0;
	f->udp = v->udp;
	f->lost = v->lost && !f->listens;
	f->cut = v->cut && !f->listens;
	if (f->udp && !f->listens)
		return -EBADMSG;
	f->local_port = (uint16_t)v->local_port;
	f->remote_port = (uint16_t)v->remote_port;
	if (take_addr(&v->local, &f->local) < 0 || v->local_port == 0 || v->local_port > 65535 ||
	    v->remote_port > 65535)
		return -EBADMSG;
	if (f->listens)
		return 0;
	return take_addr(&v->remote, &f->remote) < 0 || f->remote.family != f->local.family
	               ? -EBADMSG
	               : 0;
}

static int keep_options(struct net_in *n, const Haul__Switch *s, const struct net_flow *flows)
{
	n->options = calloc(s->n_flow + 1, sizeof(*n->options));
	for (size_t i = 0; n->options && i < s->n_flow; i++) {
		const Haul__Flow *v = s->flow[i];
		struct kept_options *k = &n->options[n->n_options];

		if (!v->n_option && !v->congestion[0])
			continue;
		k->flow = flows[i];
		snprintf(k->o.congestion, sizeof(k->o.congestion), "%s", v->congestion);
		for (size_t o = 0; o < v->n_option; o++)
			if (v->option[o]->which < NET_OPTIONS_MAX) {
				k->o.has[v->option[o]->which] = true;
				k->o.value[v->option[o]->which] = v->option[o]->value;
			}
		n->n_options++;
	}
	return n->options ? 0 : -ENOMEM;
}

static int lock(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	struct net_in *n = w->net;
	struct net_flow *v = NULL;

	free(n->flows);
	n->flows = NULL;
	if (s->n_flow > FLOWS_MAX)
		return err_set(e, ERR_PEER, EBADMSG, "%zu connections", s->n_flow);
	v = calloc(s->n_flow + n->keep->n_moves + 1, sizeof(*v));
	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	n->flows = v;
	for (size_t i = 0; i < s->n_flow; i++)
		if (take_flow(s->flow[i], &v[i]) < 0)
			return err_set(e, ERR_PEER, EBADMSG, "an invalid connection");
	if (keep_options(n, s, v) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for connections");
	/* all other packets to these addresses: the kernel would answer with a reset */
	for (size_t i = 0; i < n->keep->n_moves; i++)
		v[s->n_flow + i] = (struct net_flow){ .local = n->keep->move[i].addr,
			                              .listens = true };
	n->n_flows = s->n_flow;
	n->keep->locked = true;
	if (net_park_new(&n->park, e) < 0 || net_lock_new(&n->lock, w->route, e) < 0 ||
	    net_park_watch(n->park, v, s->n_flow, e) < 0)
		return -e->code;
	return net_lock_add(n->lock, v, s->n_flow + n->keep->n_moves, e);
}

static int take_addresses(struct net_keep *k, struct err *e)
{
	for (size_t i = 0; i < k->n_moves; i++) {
		k->added[i] = true; /* first: removing an address looks for it */
		int r = net_move_add(&k->move[i], e);

		k->added[i] = r == 0;
		if (r < 0)
			return r;
		net_move_announce(&k->move[i]);
	}
	return 0;
}

int net_in_arrive(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	struct net_in *n = w->net;

	if (n->keep->tcp_move == s->tcp_close)
		return err_set(e, ERR_PEER, EPROTO, "connections are not as the offer said");
	n->keep->arrived = true;
	if (n->keep->tcp_move || n->keep->n_moves) {
		int r = lock(w, s, e);

		if (r < 0)
			return r;
	}
	int r = take_addresses(n->keep, e);

	return r < 0 ? r : hook(w, HOOK_ARRIVING, e);
}

int net_in_parked(struct wrk *w, const Haul__Parked *p, struct err *e)
{
	struct net_in *n = w->net;
	int r = n && n->park ? 0 : -EPROTO;

	for (size_t i = 0; r == 0 && i < p->n_packet; i++)
		r = net_park_push(n->park, p->packet[i].data, p->packet[i].len);
	return r < 0 ? err_set(e, ERR_PEER, -r, "packets for no connection of the tree") : 0;
}

void net_in_open(struct wrk *w)
{
	struct net_in *n = w->net;
	struct err e = ERR_INIT;

	if (!n || !n->lock)
		return;
	if (n->park)
		net_park_stop(n->park);
	if (net_lock_open(n->lock, &e) < 0)
		log_err("%s: %s", e.msg, e.fix);
	n->keep->locked = false;
	for (size_t i = 0; i < n->keep->n_moves; i++)
		net_move_announce(&n->keep->move[i]);
}

/* Their peers have stayed at the source: no packet would ever tell that they are gone. */
static void cut_flows(struct wrk *w)
{
	const struct net_in *n = w->net;
	struct net_socks s = { 0 };
	struct proc_list procs = { 0 };
	struct err e = ERR_INIT;
	bool any = false;

	for (size_t i = 0; i < n->n_flows; i++)
		any |= n->flows[i].cut;
	if (!any)
		return;
	/* of the tree's own sockets only, whatever the source names */
	if (w->root_pid > 0 && procs_tree(w->root_pid, &procs, &e) == 0 &&
	    net_socks_collect(procs.pid, procs.n, false, &s, &e) == 0)
		net_socks_cut(&s, n->flows, n->n_flows);
	else
		log_warn("connections to the source's host are not reset: %s", e.msg);
	net_socks_fini(&s);
	procs_fini(&procs);
}

void net_in_release(struct wrk *w)
{
	struct net_in *n = w->net;
	uint64_t t0 = now_us();
	size_t all = 0, lost = 0;

	if (!n || !n->lock)
		return;
	if (n->park) {
		net_park_pull(n->park);
		all = net_park_count(n->park);
		lost = net_park_release(n->park);
		for (size_t i = 0; i < n->n_flows; i++)
			if (n->flows[i].lost)
				net_park_disown(n->park, &n->flows[i]);
	}
	cut_flows(w);
	log_info("parked=%zu lost=%zu release_us=%llu", all, lost,
	         (unsigned long long)(now_us() - t0));
}

static void set_options(const struct net_in *n, const struct net_sock *s)
{
	const struct net_flow *f = &s->flow;

	for (size_t i = 0; i < n->n_options; i++) {
		const struct net_flow *o = &n->options[i].flow;

		if (f->udp || o->udp || o->listens != f->listens ||
		    o->local_port != f->local_port || !net_addr_equal(&o->local, &f->local))
			continue;
		if (f->listens ||
		    (o->remote_port == f->remote_port && net_addr_equal(&o->remote, &f->remote)))
			net_options_write(s, &n->options[i].o);
	}
}

/* Undo what CRIU leaves on sockets; the tree runs, so it costs no downtime. */
static void resegment(struct wrk *w)
{
	struct net_socks s = { 0 };
	struct proc_list procs = { 0 };
	struct err e = ERR_INIT;

	if (w->root_pid > 0 && procs_tree(w->root_pid, &procs, &e) == 0 &&
	    net_socks_collect(procs.pid, procs.n, false, &s, &e) == 0)
		net_socks_resegment(&s);
	for (size_t i = 0; i < s.n; i++)
		set_options(w->net, &s.v[i]);
	net_socks_fini(&s);
	procs_fini(&procs);
}

void net_in_running(struct wrk *w)
{
	if (!w->net)
		return;
	if (w->net->keep->tcp_move)
		resegment(w);
	hook_late(w, HOOK_RUNNING);
}

void net_in_adopt(struct wrk *w)
{
	struct net_in *n = w->net = calloc(1, sizeof(*n));
	struct err e = ERR_INIT;

	if (!n)
		return;
	n->keep = &w->keep->net;
	if (hook_load(&n->hooks, w->conf->config, &e) < 0 ||
	    (n->keep->locked && net_lock_adopt(&n->lock, w->route, &e) < 0))
		log_err("%s", e.msg);
}

void net_in_take_off(struct wrk *w)
{
	struct net_in *n = w->net;

	for (size_t i = 0; n && i < n->keep->n_moves; i++) {
		struct err e = ERR_INIT;

		if (!n->keep->added[i] || net_move_find(&n->keep->move[i], &e) < 0)
			continue;
		if (net_move_del(&n->keep->move[i], &e) < 0)
			log_err("cannot remove an address: %s", e.msg);
		n->keep->added[i] = false;
	}
}

void net_in_undo(struct wrk *w)
{
	struct net_in *n = w->net;
	struct err e = ERR_INIT;

	if (!n)
		return;
	net_in_take_off(w);
	if (n->park)
		net_park_stop(n->park);
	if (n->lock && net_lock_open(n->lock, &e) < 0)
		log_err("%s: %s", e.msg, e.fix);
	n->keep->locked = false;
	if (n->keep->arrived)
		hook_late(w, HOOK_UNDONE);
	n->keep->arrived = false;
}

void net_in_free(struct net_in *n)
{
	if (!n)
		return;
	net_park_free(n->park);
	net_lock_free(n->lock);
	free(n->options);
	free(n->flows);
	free(n);
}
