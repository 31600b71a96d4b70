// SPDX-License-Identifier: GPL-2.0-or-later
/* img_epolls.c - epoll sets that several processes have since a fork. */
#include "engine/images/img_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "engine/images/images.pb-c.h"

/* The first process of the tree that has a set, and the lowest number of one that has. */
struct owner {
	uint32_t id; /* of the file */
	pid_t pid, lowest;
	int fd;
};

struct epolls {
	int dirfd;
	struct owner *owner;
	size_t n_owners, cap_owners;
	uint32_t type; /* CRIU's of an epoll set; 0: there is none */
	struct img_epoll *out;
	size_t n, cap;
	struct err *e;
};

/* ---- who has them ---- */

static int note(void *arg, pid_t pid, const Cimg__Fdinfo *d)
{
	struct epolls *p = arg;

	if (d->type != p->type)
		return 0;
	for (size_t i = 0; i < p->n_owners; i++)
		if (p->owner[i].id == d->id) {
			p->owner[i].lowest = pid < p->owner[i].lowest ? pid : p->owner[i].lowest;
			return 0;
		}
	if (array_grow(&p->owner, p->n_owners, &p->cap_owners, sizeof(*p->owner)) < 0)
		return -ENOMEM;
	p->owner[p->n_owners++] = (struct owner){ d->id, pid, pid, (int)d->fd };
	return 0;
}

/* ---- files.img ---- */

static int find_type(void *arg, Cimg__File *f, struct err *e)
{
	struct epolls *p = arg;

	(void)e;
	if (f->epfd && f->epfd->n_tfd)
		p->type = f->type;
	return 0;
}

static int take(struct epolls *p, const struct owner *o, Cimg__Epoll *from)
{
	if (array_grow(&p->out, p->n, &p->cap, sizeof(*p->out)) < 0)
		return -ENOMEM;
	struct img_epoll *k = &p->out[p->n];

	*k = (struct img_epoll){ .pid = o->pid,
		                 .fd = o->fd,
		                 .v = calloc(from->n_tfd + 1, sizeof(*k->v)) };
	if (!k->v)
		return -ENOMEM;
	p->n++;
	for (; k->n < from->n_tfd; k->n++) {
		Cimg__EpollTarget *t = from->tfd[k->n];

		k->v[k->n] = (struct img_watch){ t->tfd, t->events, t->data };
		cimg__epoll_target__free_unpacked(t, NULL);
	}
	from->n_tfd = 0;
	return 0;
}

static int empty(void *arg, Cimg__File *f, struct err *e)
{
	struct epolls *p = arg;

	for (size_t i = 0; f->epfd && f->epfd->n_tfd && i < p->n_owners; i++) {
		const struct owner *o = &p->owner[i];

		if (o->id != f->id || o->lowest == o->pid)
			continue;
		if (take(p, o, f->epfd) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for epoll sets");
		return 1;
	}
	return 0;
}

static int take_all(struct epolls *p, const struct img_tree *tree)
{
	int r = img_edit_files(p->dirfd, find_type, p, p->e);
	bool any = false;

	if (r == 0 && p->type)
		r = img_each_fd(p->dirfd, tree, note, p, p->e);
	for (size_t i = 0; i < p->n_owners; i++)
		any |= p->owner[i].lowest != p->owner[i].pid;
	return r == 0 && any ? img_edit_files(p->dirfd, empty, p, p->e) : r;
}

int img_take_epolls(int dirfd, struct img_epoll **out, size_t *n, struct err *e)
{
	struct epolls p = { .dirfd = dirfd, .e = e };
	struct img_tree tree = { 0 };
	int r = img_tree(dirfd, &tree, e);

	*out = NULL;
	*n = 0;
	if (r == 0 && tree.n > 1)
		r = take_all(&p, &tree);
	if (r < 0) {
		img_epolls_free(p.out, p.n);
	} else {
		*out = p.out;
		*n = p.n;
	}
	img_tree_fini(&tree);
	free(p.owner);
	return r;
}

void img_epolls_free(struct img_epoll *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].v);
	free(v);
}
