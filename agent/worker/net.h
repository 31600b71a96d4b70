/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - the network of the tree, at the destination: what the worker calls, in this order. */
#ifndef HAUL_AGENT_NET_H
#define HAUL_AGENT_NET_H

#include "common/err.h"
#include "common/finding.h"
#include "engine/net/net.h"

struct wrk;
struct anet;
/* What must not be forgotten when the worker dies; shared with its guardians. */
struct anet_keep {
	bool tcp_move, locked, arrived;
	size_t n_moves;
	struct net_move move[NET_MOVES_MAX];
	bool added[NET_MOVES_MAX];
};

struct Haul__Net;
struct Haul__Parked;
struct Haul__Switch;

/** anet_offer() - what the source wants to bring; can this host take it? -> @f */
int anet_offer(struct wrk *w, const struct Haul__Net *net, struct findings *f, struct err *e);
/** anet_arrive() - lock, take the addresses, tell the neighbours; hook. Before the restore */
int anet_arrive(struct wrk *w, const struct Haul__Switch *s, struct err *e);
/** anet_parked() - packets that arrived at the source */
int anet_parked(struct wrk *w, const struct Haul__Parked *p, struct err *e);
/** anet_open() - sockets are out of repair mode: unlock; neighbours are told again */
void anet_open(struct wrk *w);
/** anet_release() - all parked packets arrive; with thousands that takes long, and the tree may run */
void anet_release(struct wrk *w);
/** anet_running() - the tree runs here; hook */
void anet_running(struct wrk *w);
/** anet_adopt() - in a process that takes the worker's place: w->keep says what there is */
void anet_adopt(struct wrk *w);
/** anet_take_off() - the first half of anet_undo(): addresses */
void anet_take_off(struct wrk *w);
/** anet_undo() - nothing of the tree is left here: give the addresses up, unlock; hook */
void anet_undo(struct wrk *w);
void anet_free(struct anet *n);

#endif
