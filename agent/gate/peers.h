/* SPDX-License-Identifier: GPL-2.0-or-later */
/* peers.h - UNIX sockets that CRIU has connected by a path, for the restored tree. */
#ifndef HAUL_AGENT_PEERS_H
#define HAUL_AGENT_PEERS_H

#include "agent/check/rights.h"
#include "engine/images/held.h"
#include "engine/net/net.h"

struct peers {
	struct img_socket *name; /* of the tree, and those outside */
	size_t n_names;
	struct net_unix *all; /* of this host */
	size_t n;
	bool any; /* CRIU has connected to one outside */
	bool queues; /* something waits in a UNIX socket of the tree */
};

struct wrk;
/** peers_load() - after the restore. Costs nothing but a look at the images if none is connected to one outside */
int peers_load(struct peers *p, const struct wrk *w, struct err *e);
/**
 * peers_judge() - CRIU connects as root, by a name: may the process @id be connected to what the socket @inode is?
 * Return: 0; -EACCES with the name in @path
 */
int peers_judge(const struct peers *p, const struct wrk *w, const struct rights_id *id,
                uint64_t inode, const char **path);
void peers_fini(struct peers *p);
static inline void auto_peers(struct peers *p)
{
	peers_fini(p);
}

#endif
