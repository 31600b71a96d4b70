// SPDX-License-Identifier: GPL-2.0-or-later
/* mates.c - which connections of a list are the two ends of one connection. */
#include "engine/net/net.h"

#include <stdlib.h>
#include <string.h>

struct mate {
	const struct net_flow *flow;
	size_t at;
};

struct net_mates {
	size_t n;
	struct mate v[];
};

static int by_ends(const void *pa, const void *pb)
{
	const struct net_flow *a = ((const struct mate *)pa)->flow,
	                      *b = ((const struct mate *)pb)->flow;
	int d = (int)a->remote_port - (int)b->remote_port;

	if (d == 0)
		d = (int)a->local_port - (int)b->local_port;
	if (d == 0)
		d = memcmp(&a->remote, &b->remote, sizeof(a->remote));
	return d ? d : memcmp(&a->local, &b->local, sizeof(a->local));
}

int net_mates_new(struct net_mates **out, const struct net_flow *v, size_t n)
{
	struct net_mates *m = calloc(1, sizeof(*m) + n * sizeof(*m->v));

	if (!m)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!v[i].listens)
			m->v[m->n++] = (struct mate){ &v[i], i };
	qsort(m->v, m->n, sizeof(*m->v), by_ends);
	*out = m;
	return 0;
}

ssize_t net_mate(const struct net_mates *m, const struct net_flow *f)
{
	struct net_flow mirrored = { .local = f->remote,
		                     .remote = f->local,
		                     .local_port = f->remote_port,
		                     .remote_port = f->local_port };
	struct mate key = { .flow = &mirrored };
	const struct mate *found = bsearch(&key, m->v, m->n, sizeof(key), by_ends);

	return found ? (ssize_t)found->at : -1;
}

void net_mates_free(struct net_mates *m)
{
	free(m);
}
