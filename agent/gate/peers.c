// SPDX-License-Identifier: GPL-2.0-or-later
/* peers.c - may a process have the names and connections of its UNIX sockets? Nothing of it has run yet. */
#include "agent/gate/peers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/bring.h"
#include "agent/mig/mig.h"

#define QUEUES             "sk-queues.img"
#define QUEUES_EMPTY_BYTES 8

int peers_load(struct peers *p, const struct wrk *w, struct err *e)
{
	struct stat st;

	*p = (struct peers){ 0 };
	int r = img_sockets(w->images_fd, &p->name, &p->n_names, e);

	p->queues = fstatat(w->images_fd, QUEUES, &st, 0) == 0 && st.st_size > QUEUES_EMPTY_BYTES;
	for (size_t i = 0; i < p->n_names; i++)
		p->any |= p->name[i].outside;
	return r < 0 || !p->any ? r : net_unix_list(&p->all, &p->n, e);
}

void peers_fini(struct peers *p)
{
	free(p->name);
	free(p->all);
	*p = (struct peers){ 0 };
}

/* Is @peer bound to that name, and may the process use it? What the tree has bound itself is its own affair. */
static bool is_named(const struct img_socket *s, const struct wrk *w, const struct rights_id *id,
                     const struct net_unix *peer)
{
	struct stat st;
	const struct bring_file *f = s->outside ? bring_find(w->bring, s->path) : NULL;
	const struct rights_file was = { f ? f->uid : 0, f ? f->gid : 0, f ? f->mode : 0 };
	AUTO(fd) int fd = -1;

	if (!s->outside)
		return lstat(s->path, &st) == 0 && st.st_dev == peer->dev &&
		       (uint32_t)st.st_ino == peer->file;
	fd = rights_open(id, s->path, true, W_OK, &st);
	if (fd < 0)
		fd = rights_given(&w->rights, id, s->path, f ? &was : NULL, W_OK, &st);
	return fd >= 0 && st.st_dev == peer->dev && (uint32_t)st.st_ino == peer->file;
}

int peers_judge(const struct peers *p, const struct wrk *w, const struct rights_id *id,
                uint64_t inode, const char **path)
{
	const struct net_unix *own = p->any ? net_unix_find(p->all, p->n, inode) : NULL;
	const struct net_unix *peer = own && own->peer ? net_unix_find(p->all, p->n, own->peer)
	                                               : NULL;

	if (!peer || !peer->file)
		return 0; /* not connected, or to a socket without a path */
	for (size_t i = 0; i < p->n_names; i++)
		if (is_named(&p->name[i], w, id, peer))
			return 0;
	for (size_t i = 0; i < p->n_names; i++)
		if (p->name[i].outside)
			*path = p->name[i].path;
	return -EACCES;
}
