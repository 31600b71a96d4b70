/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - the network of the tree at the destination: called by the worker in this order. */
#ifndef HAUL_AGENT_NET_H
#define HAUL_AGENT_NET_H

#include "common/err.h"
#include "common/finding.h"

struct wrk;
struct net_in;
struct Haul__Net;
struct Haul__Parked;
struct Haul__Switch;

/**
 * net_in_offer() - can this host take the addresses and connections of the offer? Makes w->net
 * Return: 0, with findings in @f; -errno
 */
int net_in_offer(struct wrk *w, const struct Haul__Net *net, struct findings *f, struct err *e);
/** net_in_arrive() - before the restore: lock, take the addresses, tell the neighbours; hook */
int net_in_arrive(struct wrk *w, const struct Haul__Switch *s, struct err *e);
/** net_in_parked() - keep packets that arrived at the source */
int net_in_parked(struct wrk *w, const struct Haul__Parked *p, struct err *e);
/** net_in_open() - sockets are out of repair mode: unlock, and tell the neighbours again */
void net_in_open(struct wrk *w);
/** net_in_release() - deliver all parked packets; slow with thousands, and the tree may run */
void net_in_release(struct wrk *w);
/** net_in_running() - the tree runs here: restore socket options; hook */
void net_in_running(struct wrk *w);
/** net_in_adopt() - in a successor: make w->net from w->keep */
void net_in_adopt(struct wrk *w);
/** net_in_take_off() - the first half of net_in_undo(): addresses */
void net_in_take_off(struct wrk *w);
/** net_in_undo() - nothing of the tree is left here: give the addresses up, unlock; hook */
void net_in_undo(struct wrk *w);
void net_in_free(struct net_in *n);

#endif
