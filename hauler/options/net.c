// SPDX-License-Identifier: GPL-2.0-or-later
/* net.c - the addresses that the user names to move with the process. */
#include "hauler/options/net.h"

int net_opts_move(struct net_opts *o, const char *text, struct err *e)
{
	if (o->n_moves == NET_MOVES_MAX)
		return err_set(e, ERR_USER, E2BIG, "more than %d addresses", NET_MOVES_MAX);
	int r = net_move_parse(text, &o->move[o->n_moves], e);

	o->n_moves += r == 0;
	return r < 0 ? err_wrap(e, "--move-address") : 0;
}
