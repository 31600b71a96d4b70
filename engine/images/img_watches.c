// SPDX-License-Identifier: GPL-2.0-or-later
/* img_watches.c - paths of what inotify and fanotify descriptors watch, in files.img. */
#include "engine/images/img_watches.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "engine/images/img_priv.h"

/* Called for the path of each watch of a file; @mask: of inotify. Return: 1 changed; 0; -errno */
typedef int (*path_fn)(void *arg, const Cimg__File *f, char **path, uint32_t mask);

static int each_path(void *arg, Cimg__File *f, path_fn fn)
{
	int r = 0, changed = 0;

	for (size_t i = 0; f->ify && r >= 0 && i < f->ify->n_wd; i++) {
		r = fn(arg, f, &f->ify->wd[i]->handle->path, f->ify->wd[i]->mask);
		changed |= r > 0;
	}
	for (size_t i = 0; f->ffy && r >= 0 && i < f->ffy->n_mark; i++) {
		Cimg__FanotifyMark *m = f->ffy->mark[i];
		char *none = NULL;

		r = fn(arg, f,
		       m->inode   ? &m->inode->handle->path
		       : m->mount ? &m->mount->path
		                  : &none,
		       0);
		changed |= r > 0;
		free(none);
	}
	return r < 0 ? r : changed;
}

/* ---- look ---- */

static int note(void *arg, const Cimg__File *f, char **path, uint32_t mask)
{
	struct img_watches *l = arg;
	char *copy = *path ? strdup(*path) : NULL;

	if ((*path && !copy) || array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0) {
		free(copy);
		return -ENOMEM;
	}
	l->v[l->n++] = (struct img_watched){
		.type = f->type,
		.id = f->id,
		.path = copy,
		.fanotify = f->ffy != NULL,
		.mask = mask,
	};
	return 0;
}

static int look(void *arg, Cimg__File *f, struct err *e)
{
	int r = each_path(arg, f, note);

	return r < 0 ? err_set(e, ERR_SYS, -r, "no memory for watches") : 0;
}

static int note_fd(void *arg, pid_t pid, const Cimg__Fdinfo *d)
{
	struct img_watches *l = arg;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].type != d->type || l->v[i].id != d->id)
			continue;
		if (array_grow(&l->who, l->n_who, &l->cap_who, sizeof(*l->who)) < 0)
			return -ENOMEM;
		l->who[l->n_who++] = (struct img_watcher){ d->type, d->id, pid, (int)d->fd };
		break;
	}
	return 0;
}

int img_watches(int dirfd, struct img_watches *out, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	int r = img_edit_files(dirfd, look, out, e);

	if (r < 0 || !out->n)
		return r < 0 ? r : 0;
	r = img_tree(dirfd, &tree, e);
	return r < 0 ? r : img_each_fd(dirfd, &tree, note_fd, out, e);
}

void img_watches_fini(struct img_watches *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	free(l->who);
	*l = (struct img_watches){ 0 };
}

/* ---- change ---- */

struct paths {
	char *const *v;
	size_t n, at;
};

static int put(void *arg, const Cimg__File *f, char **path, uint32_t mask)
{
	struct paths *p = arg;
	char *copy = p->at < p->n ? strdup(p->v[p->at]) : NULL;

	(void)f;
	(void)mask;
	if (!copy)
		return p->at < p->n ? -ENOMEM : -EBADMSG;
	free(*path);
	*path = copy;
	p->at++;
	return 1;
}

static int change(void *arg, Cimg__File *f, struct err *e)
{
	int r = each_path(arg, f, put);

	return r < 0 ? err_set(e, ERR_SYS, -r, "watches: %s", strerror(-r)) : r;
}

int img_watch_by(int dirfd, char *const *path, size_t n, struct err *e)
{
	struct paths p = { .v = path, .n = n };

	return n ? img_edit_files(dirfd, change, &p, e) : 0;
}
