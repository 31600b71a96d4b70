// SPDX-License-Identifier: GPL-2.0-or-later
/* img_names.c - take the paths of UNIX sockets out of files.img, and the connections that are made by them. */
#include "engine/images/img_priv.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"
#include "engine/images/img_names.h"

#define USK_EXTERN 1u /* of unix_sk_entry.uflags: the socket of a program outside the tree */

struct taker {
	struct img_names *out;
	uint32_t type; /* CRIU's of a UNIX socket; 0: there is none */
};

/* CRIU removes what has the path also for a connection, which has its listener's. */
static bool is_connection(const Cimg__UnixSk *s)
{
	return s->type != SOCK_DGRAM && s->state == TCP_ESTABLISHED;
}

static bool is_outside(const Cimg__UnixSk *s)
{
	return s->name.len && s->uflags & USK_EXTERN;
}

static bool has_path(const Cimg__UnixSk *s)
{
	return s->name.len && s->name.data[0] && !is_outside(s);
}

static int note_name(struct img_names *l, uint32_t id, const Cimg__UnixSk *s)
{
	if (s->name.len > sizeof(l->v->name))
		return -EBADMSG;
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	struct img_name *n = &l->v[l->n];

	*n = (struct img_name){ .id = id,
		                .ino = s->ino,
		                .peer = s->peer,
		                .bytes = s->name.len,
		                .uid = UINT32_MAX,
		                .gid = UINT32_MAX,
		                .mode = 0777,
		                .backlog = s->backlog,
		                .listens = s->state == TCP_LISTEN,
		                .deleted = s->deleted,
		                .outside = is_outside(s) };
	memcpy(n->name, s->name.data, s->name.len);
	if (s->file_perms) {
		n->uid = s->file_perms->uid;
		n->gid = s->file_perms->gid;
		n->mode = s->file_perms->mode;
	}
	if (s->name.data[0] && s->name.data[0] != '/' &&
	    !(n->dir = strdup(s->name_dir ? s->name_dir : "")))
		return -ENOMEM;
	l->n++;
	return 0;
}

static int find_names(void *arg, Cimg__File *f, struct err *e)
{
	struct taker *t = arg;
	const Cimg__UnixSk *s = f->usk;

	if (!s)
		return 0;
	t->type = f->type;
	if (!is_outside(s) && (!has_path(s) || is_connection(s)))
		return 0;
	int r = note_name(t->out, f->id, s);

	return r < 0 ? err_set(e, ERR_CRIU, -r, "a UNIX socket: %s", strerror(-r)) : 0;
}

/* CRIU would connect @s by the name of a socket of the tree, which it does not connect as a pair. */
static const struct img_name *connects_to(const struct img_names *l, const Cimg__UnixSk *s)
{
	for (size_t i = 0; s->peer && i < l->n; i++)
		if (l->v[i].ino == s->peer && (l->v[i].peer != s->ino || s->peer == s->ino))
			return &l->v[i];
	return NULL;
}

static int take_link(struct img_names *l, uint32_t id, Cimg__UnixSk *s, size_t to)
{
	if (array_grow(&l->link, l->n_links, &l->cap_links, sizeof(*l->link)) < 0)
		return -ENOMEM;
	l->link[l->n_links++] = (struct img_link){ .id = id, .to = to, .shutdown = s->shutdown };
	s->peer = 0;
	s->has_shutdown = false;
	if (s->type != SOCK_DGRAM)
		s->state = TCP_CLOSE;
	return 0;
}

static void take_name(Cimg__UnixSk *s)
{
	free(s->name.data);
	s->name = (ProtobufCBinaryData){ 0, NULL };
	free(s->name_dir);
	s->name_dir = NULL;
	if (s->file_perms)
		cimg__file_perms__free_unpacked(s->file_perms, NULL);
	s->file_perms = NULL;
	s->has_deleted = false;
	if (s->state == TCP_LISTEN) /* the kernel lets no socket without a name listen */
		s->state = TCP_CLOSE;
}

static int take(void *arg, Cimg__File *f, struct err *e)
{
	const struct taker *t = arg;
	const struct img_name *to = f->usk ? connects_to(t->out, f->usk) : NULL;
	bool path = f->usk && has_path(f->usk);

	if (to && take_link(t->out, f->id, f->usk, (size_t)(to - t->out->v)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for UNIX sockets");
	if (path)
		take_name(f->usk);
	return to || path;
}

/* ---- whose descriptors they are ---- */

/* Each process that has a connection to the outside must be one that may have it. */
static int note_link(struct img_names *l, const struct img_link *k)
{
	struct img_link *first = NULL;

	for (size_t i = 0; i < l->n_links; i++) {
		struct img_link *at = &l->link[i];

		if (at->id == k->id && at->pid == k->pid)
			return 0;
		if (at->id == k->id && !first)
			first = at;
	}
	if (!first || (first->pid && !l->v[first->to].outside))
		return 0;
	struct img_link next = *first;

	next.pid = k->pid;
	next.fd = k->fd;
	if (!first->pid) {
		*first = next;
		return 0;
	}
	if (array_grow(&l->link, l->n_links, &l->cap_links, sizeof(*l->link)) < 0)
		return -ENOMEM;
	l->link[l->n_links++] = next;
	return 0;
}

static int note_fd(void *arg, pid_t pid, const Cimg__Fdinfo *d)
{
	const struct taker *t = arg;
	struct img_names *l = t->out;

	if (d->type != t->type)
		return 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].id == d->id && !l->v[i].pid) {
			l->v[i].pid = pid;
			l->v[i].fd = (int)d->fd;
		}
	return note_link(l, &(struct img_link){ .id = d->id, .pid = pid, .fd = (int)d->fd });
}

static int find_fds(int dirfd, struct taker *t, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	struct img_names *l = t->out;
	int r = img_tree(dirfd, &tree, e);

	if (r < 0)
		return r;
	r = img_each_fd(dirfd, &tree, note_fd, t, e);
	for (size_t i = 0; r == 0 && i < l->n; i++)
		if (!l->v[i].pid && !l->v[i].outside)
			r = -ENOTSUP;
	for (size_t i = 0; r == 0 && i < l->n_links; i++)
		if (!l->link[i].pid)
			r = -ENOTSUP;
	if (r != -ENOTSUP || e->code)
		return r;
	err_set(e, ERR_TARGET, ENOTSUP,
	        "a UNIX socket with a path, or one connected to it, is nowhere but in the queue of "
	        "another socket");
	return err_fix(e, "try again when the program has received it");
}

int img_take_names(int dirfd, struct img_names *out, struct err *e)
{
	struct taker t = { .out = out };
	int r = img_edit_files(dirfd, find_names, &t, e);

	/* connections have paths, too, when nothing is bound any more */
	if (r < 0 || !t.type)
		return r;
	r = img_edit_files(dirfd, take, &t, e);
	return r < 0 || !out->n ? (r < 0 ? r : 0) : find_fds(dirfd, &t, e);
}

void img_names_fini(struct img_names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].dir);
	free(l->v);
	free(l->link);
	*l = (struct img_names){ 0 };
}
