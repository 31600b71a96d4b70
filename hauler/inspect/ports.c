// SPDX-License-Identifier: GPL-2.0-or-later
/* ports.c - ports of the tree, for the offer: they must be free at the destination. */
#include "hauler/inspect/priv.h"

#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"

static bool is_v6only(const struct inspect_end *end)
{
	AUTO(fd) int fd = procs_copy_fd(end->pid, end->fd);
	int v = 0;
	socklen_t n = sizeof(v);

	return fd >= 0 && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v, &n) == 0 && v;
}

int inspect_port(struct inspect *i, const struct inspect_end *end, const struct inet_diag_msg *m,
                 bool udp)
{
	bool v6 = m->idiag_family == AF_INET6;
	size_t n = v6 ? 16 : 4;

	if (!m->id.idiag_sport)
		return 0;
	if (array_grow(&i->ports.v, i->ports.n, &i->ports.cap, sizeof(Haul__Port *)) < 0)
		return -ENOMEM;
	Haul__Port *p = calloc(1, sizeof(*p) + n);

	if (!p)
		return -ENOMEM;
	haul__port__init(p);
	p->address.data = (uint8_t *)(p + 1);
	p->address.len = n;
	memcpy(p->address.data, m->id.idiag_src, n);
	p->port = ntohs(m->id.idiag_sport);
	p->udp = udp;
	p->v6only = v6 && is_v6only(end);
	i->ports.v[i->ports.n++] = p;
	return 0;
}

void inspect_ports_fini(struct inspect *i)
{
	for (size_t k = 0; k < i->ports.n; k++)
		free(i->ports.v[k]);
	free(i->ports.v);
}
