// SPDX-License-Identifier: GPL-2.0-or-later
/* plan.c - which addresses and connections are to move; hooks. Changes nothing. */
#include <jansson.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "engine/criu/criu.h"
#include "hauler/net/priv.h"

/* ---- before anything is touched ---- */

/* The address on this host, and as the destination will have it. */
static int find_move(struct mnet *n, const struct net_move *want, struct err *e)
{
	struct net_move *here = &n->here[n->n_moves], *there = &n->there[n->n_moves];

	*here = (struct net_move){ .addr = want->addr };
	if (net_move_find(here, e) < 0)
		return -e->code;
	*there = *here;
	there->index = 0;
	if (want->iface[0])
		memcpy(there->iface, want->iface, sizeof(there->iface));
	if (want->prefix && want->prefix != here->prefix) {
		there->prefix = want->prefix;
		there->has_broadcast = false;
	}
	n->n_moves++;
	return 0;
}

static enum tcp_wish wish(unsigned int word)
{
	static const enum tcp_wish of[] = { [POL_TCP_MOVE] = TCP_MOVE_THEM,
		                            [POL_TCP_CLOSE] = TCP_CLOSE_THEM,
		                            [POL_TCP_REFUSE] = TCP_REFUSE_THEM,
		                            [POL_TCP_AUTO] = TCP_BY_ADDRESS };

	return of[word];
}

int mnet_new(struct mig *m, struct err *e)
{
	const struct net_opts *o = &m->opt->net;
	struct mnet *n = m->net = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the network");
	n->hooks = o->hooks;
	int r = hook_load(&n->hooks, m->opt->config, e);

	for (size_t i = 0; r == 0 && i < o->n_moves; i++)
		r = find_move(n, &o->move[i], e);
	n->judge.tcp = wish(m->opt->pol.v.tcp);
	n->judge.cannot_move = m->dump.criu_version && m->dump.criu_version < CRIU_SAYS_STOPPED;
	n->moves_tcp = n->judge.tcp == TCP_MOVE_THEM ||
	               (n->judge.tcp == TCP_BY_ADDRESS && o->n_moves);
	n->judge.rules = &o->rules;
	n->judge.unit = m->opt->unit;
	n->judge.container = m->opt->container.runtime[0];
	n->judge.land = m->opt->as != NULL;
	n->judge.ignore_supervisor = m->opt->pol.v.supervisor == POL_SUPERVISOR_IGNORE;
	n->judge.moves = n->there;
	n->judge.n_moves = n->n_moves;
	return r;
}

const struct inspect_net *mnet_judge(const struct mnet *n)
{
	return &n->judge;
}

bool mnet_moves_tcp(const struct mnet *n)
{
	return n->moves_tcp;
}

static int find_harm(const struct net_move *mv, struct findings *f, struct err *e)
{
	char why[256], text[NET_ADDR_TEXT];
	int r = net_move_harm(mv, why, sizeof(why), e);

	if (r > 0)
		r = finding_add(f, SEV_BLOCKER, "address-in-use",
		                "move an address that only this process uses",
		                "address %s cannot move: %s", net_addr_text(&mv->addr, text), why);
	return r;
}

/* It would cut off our own connection to the destination. */
static int find_self(struct mig *m, struct findings *f, struct err *e)
{
	struct net_socks own = { 0 };
	pid_t self = getpid();
	int r = m->link.ctl ? net_socks_collect(&self, 1, false, &own, e) : 0;

	for (size_t i = 0; r == 0 && i < own.n; i++)
		for (size_t k = 0; r == 0 && k < m->net->n_moves; k++) {
			char text[NET_ADDR_TEXT];

			if (!net_addr_equal(&own.v[i].flow.local, &m->net->here[k].addr))
				continue;
			r = finding_add(f, SEV_BLOCKER, "address-in-use",
			                "let haul reach the destination from another address "
			                "(ip route add HOST src OTHER)",
			                "haul's own connection to the destination uses %s",
			                net_addr_text(&m->net->here[k].addr, text));
		}
	net_socks_fini(&own);
	return r;
}

/* Make a lock without flows, and remove it: can this host do it? */
static int find_lock(struct mig *m, struct findings *f)
{
	AUTO(net_lock) struct net_lock *l = NULL;
	struct err why = ERR_INIT;

	if (!mnet_needs_lock(m->net) ||
	    (net_lock_new(&l, (uint64_t)getpid(), &why) == 0 && net_lock_open(l, &why) == 0))
		return 0;
	return finding_add(f, SEV_BLOCKER, "no-nf-tables",
	                   "modprobe nf_tables, or --tcp=close without --move-address",
	                   "this host cannot lock connections: %s", why.msg);
}

int mnet_findings(struct mig *m, struct findings *f, struct err *e)
{
	m->net->moves_tcp |= inspect_moves_tcp(m->insp);
	int r = m->link.ctl ? 0 : find_lock(m, f);

	for (size_t i = 0; r == 0 && !m->link.ctl && i < m->net->n_moves; i++)
		r = find_harm(&m->net->here[i], f, e);
	return r == 0 ? find_self(m, f, e) : r;
}

static size_t addr_bytes(const struct net_addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}

ProtobufCBinaryData mnet_addr_msg(const struct net_addr *a)
{
	return (ProtobufCBinaryData){ .len = addr_bytes(a), .data = (uint8_t *)a->b };
}

static void fill_move(struct mnet *n, size_t i)
{
	Haul__Move *v = &n->move_msg[i];
	struct net_move *mv = &n->there[i];

	haul__move__init(v);
	v->addr = mnet_addr_msg(&mv->addr);
	v->prefix = mv->prefix;
	v->iface = mv->iface;
	v->broadcast.len = mv->has_broadcast ? sizeof(mv->broadcast) : 0;
	v->broadcast.data = mv->broadcast;
	v->flags = mv->flags & IFA_F_NOPREFIXROUTE;
	v->scope = mv->scope;
	n->move_ptr[i] = v;
}

int mnet_offer(struct mig *m, Haul__Offer *offer, struct err *e)
{
	struct mnet *n = m->net;
	size_t locals;
	const struct net_addr *local = inspect_locals(m->insp, &locals);

	free(n->local_msg);
	n->local_msg = calloc(locals + 1, sizeof(*n->local_msg));
	if (!n->local_msg)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
	haul__net__init(&n->msg);
	for (size_t i = 0; i < n->n_moves; i++)
		fill_move(n, i);
	for (size_t i = 0; i < locals; i++)
		n->local_msg[i] = mnet_addr_msg(&local[i]);
	n->msg.tcp_move = mnet_moves_tcp(n);
	n->msg.n_move = n->n_moves;
	n->msg.move = n->move_ptr;
	n->msg.n_local = locals;
	n->msg.local = n->local_msg;
	offer->net = &n->msg;
	return 0;
}

/* ---- hooks ---- */

static json_t *moves_json(const struct mnet *n)
{
	json_t *a = json_array();

	for (size_t i = 0; i < n->n_moves; i++) {
		char text[NET_ADDR_TEXT];

		json_array_append_new(a, json_sprintf("%s/%u@%s",
		                                      net_addr_text(&n->there[i].addr, text),
		                                      n->there[i].prefix, n->there[i].iface));
	}
	return a;
}

int mnet_hook(struct mig *m, enum hook_point p, struct err *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "point", json_string(hook_name(p)));
	json_object_set_new(o, "side", json_string("source"));
	json_object_set_new(o, "migration", json_sprintf("%016llx", (unsigned long long)m->id));
	json_object_set_new(o, "pid", json_integer(m->opt->pid));
	json_object_set_new(o, "comm", json_string(m->fig.comm));
	json_object_set_new(o, "destination", json_string(m->opt->dest));
	json_object_set_new(o, "addresses", moves_json(m->net));
	AUTO(mem) char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return text ? hook_run(&m->net->hooks, p, text, e)
	            : err_set(e, ERR_SYS, ENOMEM, "no memory for a hook");
}

void mnet_hook_late(struct mig *m, enum hook_point p)
{
	struct err e = ERR_INIT;

	if (mnet_hook(m, p, &e) < 0)
		log_warn("%s", e.msg);
}

bool mnet_needs_lock(const struct mnet *n)
{
	return n->moves_tcp || n->n_moves;
}

int mnet_prepare(struct mig *m, struct err *e)
{
	int r = mnet_hook(m, HOOK_PREPARE, e);

	return r == 0 && mnet_needs_lock(m->net) ? net_park_new(&m->net->park, e) : r;
}

void mnet_free(struct mnet *n)
{
	if (!n)
		return;
	net_socks_fini(&n->socks);
	net_park_free(n->park);
	net_lock_free(n->lock);
	free(n->flows);
	free(n->local_msg);
	free(n->flow_msg);
	free(n->flow_options);
	free(n->flow_ptr);
	free(n->closed);
	free(n->closed_msg);
	free(n->closed_ptr);
	free(n);
}
