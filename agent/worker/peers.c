// SPDX-License-Identifier: GPL-2.0-or-later
/* peers.c - may a process have the names and connections of its UNIX sockets? Nothing of it has run yet. */
#include "agent/worker/peers.h"

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

static bool all_root(const struct rights *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (!rights_is_root(&r->v[i]))
			return false;
	return true;
}

int peers_load(struct peers *p, const struct wrk *w, struct err *e)
{
	struct stat st;

	*p = (struct peers){ 0 };
	int r = img_sockets(w->images_fd, &p->name, &p->n_names, e);

	p->queues = fstatat(w->images_fd, QUEUES, &st, 0) == 0 && st.st_size > QUEUES_EMPTY_BYTES;
	for (size_t i = 0; i < p->n_names; i++)
		*(p->name[i].outside ? &p->any : &p->bound) = true;
	p->bound = p->bound && !all_root(&w->rights);
	return r < 0 || (!p->any && !p->bound) ? r : net_unix_list(&p->all, &p->n, e);
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

/* Is it the socket of that name, in a directory where @id may bind one? */
static bool is_at(const struct img_socket *s, const struct wrk *w, const struct rights_id *id,
                  const struct net_unix *own)
{
	char dir[sizeof(s->path)];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s", s->path);
	char *slash = strrchr(dir, '/');

	*slash = 0;
	const char *in = dir[0] ? dir : "/";
	AUTO(fd) int fd = rights_open(id, in, true, W_OK | X_OK, &st);

	if (fd < 0 && !w->rights.owned && s->uid == 0 && rights_guarded(&w->rights, in) == 0)
		fd = open(in, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fstatat(fd, slash + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == own->dev && (uint32_t)st.st_ino == own->file;
}

int peers_bound(const struct peers *p, const struct wrk *w, const struct rights_id *id,
                uint64_t inode)
{
	const struct net_unix *own = p->bound ? net_unix_find(p->all, p->n, inode) : NULL;

	if (!own || !own->file || !own->waits)
		return 0;
	for (size_t i = 0; i < p->n_names; i++)
		if (!p->name[i].outside && is_at(&p->name[i], w, id, own))
			return 0;
	return -EACCES;
}
