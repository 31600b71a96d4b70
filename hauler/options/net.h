/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - what the user says about the connections of the process: addresses, hooks, --map. */
#ifndef HAULER_OPTIONS_NET_H
#define HAULER_OPTIONS_NET_H

#include <stddef.h>

#include "common/err.h"
#include "common/hook.h"
#include "engine/net/net.h"
#include "hauler/options/out_rules.h"

struct net_opts {
	struct net_move move[NET_MOVES_MAX];
	size_t n_moves;
	struct hooks hooks;
	struct out_rules rules; /* for files that are connected to other processes */
};

/**
 * net_opts_move() - one --move-address=@text
 * Return: 0; -E2BIG more than NET_MOVES_MAX; -EINVAL not an address, a prefix and an interface
 */
int net_opts_move(struct net_opts *o, const char *text, struct err *e);

#endif
