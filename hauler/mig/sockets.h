/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sockets.h - what the sockets of the tree have that CRIU does not restore, for OFFER and SWITCH. */
#ifndef HAUL_MIG_SOCKETS_H
#define HAUL_MIG_SOCKETS_H

#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "common/finding.h"

struct sockets;
struct Haul__Offer;
struct Haul__Switch;

/**
 * sockets_offer() - OFFER.iface: interfaces that the tree @root has joined multicast groups on, or sends by;
 * a finding in @out for each group. sockets_offer_free() afterwards. Return: 0; -errno
 */
int sockets_offer(pid_t root, struct Haul__Offer *o, struct findings *out, struct err *e);
void sockets_offer_free(struct Haul__Offer *o);
/**
 * sockets_note() - which descriptors of the tree @root are sockets, each socket once. It may run while CRIU dumps.
 * Return: 0; -errno
 */
int sockets_note(struct sockets **out, pid_t root, struct err *e);
struct net_place;
/** sockets_places() - as noted; belongs to @k */
const struct net_place *sockets_places(const struct sockets *k, size_t *n);
void sockets_free(struct sockets *k);
DEFINE_AUTO(sockets, sockets_free)
/** sockets_switch() - SWITCH.sock of the stopped tree, as noted; sockets_switch_free() afterwards. Return: 0; -errno */
int sockets_switch(const struct sockets *k, struct Haul__Switch *s, struct err *e);
void sockets_switch_free(struct Haul__Switch *s);

#endif
