// SPDX-License-Identifier: GPL-2.0-or-later
/* journal.c - the network in the journal: what an earlier haul began. */
#include <stdlib.h>
#include <string.h>

#include "hauler/net/priv.h"

char *mnet_word(const struct mig *m)
{
	const struct mnet *n = m->net;
	size_t bytes = 16 + NET_MOVES_MAX * (NET_ADDR_TEXT + IF_NAMESIZE + 8), at = 0;
	char *out = malloc(bytes), text[NET_ADDR_TEXT];

	if (!out)
		return NULL;
	at = (size_t)snprintf(out, bytes, "%s",
	                      !mnet_needs_lock(n)             ? "none"
	                      : !n->moves_tcp                 ? "close"
	                      : n->judge.tcp == TCP_MOVE_THEM ? "move"
	                                                      : "address");
	for (size_t i = 0; i < n->n_moves; i++)
		at += (size_t)snprintf(out + at, bytes - at, ",%s/%u@%s",
		                       net_addr_text(&n->here[i].addr, text), n->here[i].prefix,
		                       n->here[i].iface);
	return out;
}

int mnet_adopt(struct mig *m, const char *word, struct err *e)
{
	AUTO(mem) char *list = strdup(word ? word : "none");
	struct mnet *n = m->net = calloc(1, sizeof(*n));
	char *save = NULL, *p = list ? strtok_r(list, ",", &save) : NULL;
	int r = 0;

	if (!n || !p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the network");
	n->judge.tcp = !strcmp(p, "move")      ? TCP_MOVE_THEM
	               : !strcmp(p, "address") ? TCP_BY_ADDRESS
	                                       : TCP_CLOSE_THEM;
	n->moves_tcp = n->judge.tcp != TCP_CLOSE_THEM;
	bool locked = strcmp(p, "none");

	while (r == 0 && (p = strtok_r(NULL, ",", &save)) && n->n_moves < NET_MOVES_MAX) {
		struct net_move *mv = &n->here[n->n_moves];

		r = net_move_parse(p, mv, e);
		mv->gone = r == 0 && net_addr_here(&mv->addr, e) == 0;
		n->there[n->n_moves] = *mv;
		n->n_moves += r == 0;
	}
	n->judge.moves = n->here;
	n->judge.n_moves = n->n_moves;
	if (r || !locked)
		return r;
	r = net_lock_adopt(&n->lock, m->link.route, e);
	if (r || !m->opt)
		return r;
	/* repair mode clears SO_REUSEADDR, which such sockets usually have */
	AUTO(procs) struct proc_list procs = { 0 };

	if (procs_tree(m->opt->pid, &procs, e) < 0)
		return 0;
	return net_socks_collect(procs.pid, procs.n, false, &n->socks, e);
}
