/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what plan.c, net.c and journal.c share. */
#ifndef HAUL_HAULER_NET_PRIV_H
#define HAUL_HAULER_NET_PRIV_H

#include "hauler/mig/mig.h"
#include "hauler/net/net.h"
#include "transport/msg/haul.pb-c.h"

/* Options of one flow, and room for them in a message. */
struct flow_options {
	struct net_options o;
	Haul__SockOption v[NET_OPTIONS_MAX], *ptr[NET_OPTIONS_MAX];
};

struct mnet {
	struct inspect_net judge;
	struct hooks hooks;
	struct net_move here[NET_MOVES_MAX], there[NET_MOVES_MAX];
	size_t n_moves;
	bool moves_tcp; /* there are connections that move, or may be */
	struct net_lock *lock; /* NULL: connections are closed, and nothing is locked */
	struct net_park *park;
	struct net_socks socks; /* copies of all TCP sockets, from the freeze on */
	bool *closed; /* which of them are closed; NULL: not known yet */
	struct net_flow *flows;
	size_t n_flows, n_shipped;
	unsigned int loose_left;
	unsigned int stuck; /* closed by programs, and not sent when the quiet limit was over */

	/* number of messages */
	Haul__Net msg;
	Haul__Move move_msg[NET_MOVES_MAX], *move_ptr[NET_MOVES_MAX];
	ProtobufCBinaryData *local_msg;
	Haul__Flow *flow_msg, **flow_ptr;
	struct flow_options *flow_options; /* number of entries of flow_msg that have options */
	size_t n_flow_options;
	Haul__Closed *closed_msg, **closed_ptr;
};

/** mnet_needs_lock() - something of the network moves */
bool mnet_needs_lock(const struct mnet *n);
/** mnet_moves_clients() - do those who come from outside find the tree at the destination? */
bool mnet_moves_clients(const struct mnet *n);
/** mnet_arrives() - is this an address of the destination, once the tree is there? @arg: the mnet */
bool mnet_arrives(void *arg, const struct net_addr *a);
/** mnet_sort() - copies of the sockets of the stopped tree; what becomes of each. Return: 0; -code of @e */
int mnet_sort(struct mig *m, struct err *e);
/** mnet_closing() - how many connections of addresses that move are closed here, but not at their peer */
unsigned int mnet_closing(const struct mnet *n);
/** mnet_closed() - fill in s->closed; freed by mnet_free() */
int mnet_closed(struct mnet *n, Haul__Switch *s, struct err *e);
/**
 * mnet_reset() - the tree is at the destination: reset what does not move, and peers on this host
 * @i: finds processes outside that have such a socket, too; NULL: sockets are reset when their last process ends
 */
void mnet_reset(struct mnet *n, const struct inspect *i);
/** mnet_hook() - run the hook of @p, if it has one */
int mnet_hook(struct mig *m, enum hook_point p, struct err *e);
/** mnet_hook_late() - the same when its answer changes nothing */
void mnet_hook_late(struct mig *m, enum hook_point p);
/** mnet_addr_msg() - an address as messages have it; points into @a */
ProtobufCBinaryData mnet_addr_msg(const struct net_addr *a);

#endif
