// SPDX-License-Identifier: GPL-2.0-or-later
/* inodes.c - the model: inodes and names of the directories, and which of them the destination has. */
#include "hauler/dirs/priv.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/array.h"

#define BUCKETS_MIN 4096

int dirs_list_add(struct dirs_list *l, void *p)
{
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	l->v[l->n++] = p;
	return 0;
}

int dirs_open(const struct dirs_root *r, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW |
		                    (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK)),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
		           RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, r->fd, *path ? path : ".", &how, sizeof(how));
}

struct dirs_ino *dirs_find(const struct dirs_root *r, ino_t ino)
{
	struct dirs_ino *i = r->n_buckets ? r->bucket[ino & (r->n_buckets - 1)] : NULL;

	while (i && i->st.st_ino != ino)
		i = i->next;
	return i;
}

static int grow(struct dirs_root *r)
{
	size_t n = r->n_buckets ? r->n_buckets * 2 : BUCKETS_MIN;
	struct dirs_ino **v = calloc(n, sizeof(struct dirs_ino *));

	if (!v)
		return -ENOMEM;
	for (size_t b = 0; b < r->n_buckets; b++)
		for (struct dirs_ino *i = r->bucket[b], *next; i; i = next) {
			next = i->next;
			i->next = v[i->st.st_ino & (n - 1)];
			v[i->st.st_ino & (n - 1)] = i;
		}
	free(r->bucket);
	r->bucket = v;
	r->n_buckets = n;
	return 0;
}

static void unlink_ino(struct dirs_ino *i)
{
	struct dirs_root *r = i->root;

	for (struct dirs_ino **p = &r->bucket[i->st.st_ino & (r->n_buckets - 1)]; *p;
	     p = &(*p)->next)
		if (*p == i) {
			*p = i->next;
			r->n_inos--;
			return;
		}
}

struct dirs_ino *dirs_ino_new(struct dirs *f, struct dirs_root *r, const struct stat *st,
                              XXH128_hash_t key)
{
	struct dirs_ino *old = dirs_find(r, st->st_ino);

	if (r->n_inos + 1 > r->n_buckets && grow(r) < 0)
		return NULL;
	struct dirs_ino *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	if (old) {
		unlink_ino(old); /* its names stay in the model until the end of the pass */
		dirs_watch_drop(f->watch, old->key, old);
	}
	i->root = r;
	i->st = *st;
	i->key = key;
	LIST_INIT(&i->names);
	LIST_INIT(&i->children);
	i->next = r->bucket[st->st_ino & (r->n_buckets - 1)];
	r->bucket[st->st_ino & (r->n_buckets - 1)] = i;
	r->n_inos++;
	return i;
}

struct dirs_name *dirs_name_new(struct dirs_ino *dir, struct dirs_ino *ino, const char *name)
{
	size_t bytes = strlen(name) + 1;
	struct dirs_name *n = calloc(1, sizeof(*n) + bytes);

	if (!n)
		return NULL;
	memcpy(n->name, name, bytes);
	n->dir = dir;
	n->ino = ino;
	LIST_INSERT_HEAD(&dir->children, n, in_dir);
	LIST_INSERT_HEAD(&ino->names, n, of_ino);
	return n;
}

static void drop_ino(struct dirs *f, struct dirs_ino *i)
{
	if (i->dead)
		return;
	dirs_watch_drop(f->watch, i->key, i);
	unlink_ino(i);
	i->dead = true;
	i->grave = f->dead_inos;
	f->dead_inos = i;
}

void dirs_forget(struct dirs *f, struct dirs_name *n)
{
	if (n->dead)
		return;
	n->dead = true;
	n->there = false;
	n->grave = f->dead_names;
	f->dead_names = n;
	LIST_REMOVE(n, in_dir);
	LIST_REMOVE(n, of_ino);
	if (!LIST_EMPTY(&n->ino->names))
		return;
	while (!LIST_EMPTY(&n->ino->children))
		dirs_forget(f, LIST_FIRST(&n->ino->children));
	drop_ino(f, n->ino);
}

static void free_ino(struct dirs_ino *i)
{
	free(i->block);
	free(i);
}

void dirs_bury(struct dirs *f)
{
	for (struct dirs_name *n = f->dead_names, *next; n; n = next) {
		next = n->grave;
		free(n);
	}
	for (struct dirs_ino *i = f->dead_inos, *next; i; i = next) {
		next = i->grave;
		free_ino(i);
	}
	f->dead_names = NULL;
	f->dead_inos = NULL;
}

int dirs_path(const struct dirs_name *n, char out[BATCH_PATH_MAX_BYTES + 1])
{
	size_t at = BATCH_PATH_MAX_BYTES;

	out[at] = 0;
	for (;;) {
		size_t len = strlen(n->name);

		if (n->dead)
			return -ESTALE;
		if (len + 1 > at)
			return -ENAMETOOLONG;
		at -= len;
		memcpy(out + at, n->name, len);
		n = LIST_FIRST(&n->dir->names);
		if (!n)
			break;
		out[--at] = '/';
	}
	memmove(out, out + at, BATCH_PATH_MAX_BYTES + 1 - at);
	return (int)(BATCH_PATH_MAX_BYTES - at);
}

int dirs_ino_path(const struct dirs_ino *i, bool there, char out[BATCH_PATH_MAX_BYTES + 1])
{
	const struct dirs_name *n;

	out[0] = 0;
	if (i == i->root->top)
		return 0;
	LIST_FOREACH(n, &i->names, of_ino)
	if (there ? n->there : !n->vanished)
		return dirs_path(n, out);
	return -ESTALE;
}

void dirs_table_free(struct dirs_root *r)
{
	for (size_t b = 0; b < r->n_buckets; b++)
		for (struct dirs_ino *i = r->bucket[b], *next; i; i = next) {
			while (!LIST_EMPTY(&i->children)) {
				struct dirs_name *n = LIST_FIRST(&i->children);

				LIST_REMOVE(n, in_dir);
				free(n);
			}
			next = i->next;
			free_ino(i);
		}
	free(r->bucket);
	if (r->fd >= 0)
		close(r->fd);
}
