// SPDX-License-Identifier: GPL-2.0-or-later
/* held.c - from images: the identity of each task, and the UNIX sockets that will be bound. */
#include "engine/images/held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/auto.h"
#include "engine/images/img_priv.h"

#define HEAD_BYTES      8 /* before the first message */
#define IMAGE_BYTES_MAX (256u << 20)
#define REMAP_GHOST     1u /* of remap_path.type */
#define USK_EXTERN      1u /* of unix_sk_entry.uflags: the socket of a program outside the tree */

static uint64_t take_caps(const uint32_t *v, size_t n)
{
	uint64_t caps = 0;

	for (size_t i = 0; i < n && i < 2; i++)
		caps |= (uint64_t)v[i] << (32 * i);
	return caps;
}

static int take_creds(const Cimg__Creds *from, struct img_creds *to)
{
	*to = (struct img_creds){ .uid = from->fsuid,
		                  .gid = from->fsgid,
		                  .uids = { from->uid, from->euid, from->suid, from->fsuid },
		                  .gids = { from->gid, from->egid, from->sgid, from->fsgid },
		                  .caps = take_caps(from->cap_eff, from->n_cap_eff) };
	to->caps_any = to->caps | take_caps(from->cap_prm, from->n_cap_prm) |
	               take_caps(from->cap_inh, from->n_cap_inh);
	to->groups = calloc(from->n_groups + 1, sizeof(*to->groups));
	if (!to->groups)
		return -ENOMEM;
	if (from->n_groups)
		memcpy(to->groups, from->groups, from->n_groups * sizeof(*to->groups));
	to->n_groups = from->n_groups;
	return 0;
}

int img_creds(int dirfd, pid_t tid, struct img_creds *out, struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, tid, &c, e);

	memset(out, 0, sizeof(*out));
	if (r < 0)
		return r;
	r = c->thread_core && c->thread_core->creds ? take_creds(c->thread_core->creds, out)
	                                            : -ENODATA;
	cimg__core__free_unpacked(c, NULL);
	return r == -ENOMEM
	               ? err_set(e, ERR_SYS, ENOMEM, "no memory for the groups of thread %d", tid)
	               : r;
}

void img_creds_fini(struct img_creds *c)
{
	free(c->groups);
	*c = (struct img_creds){ 0 };
}

/* Returns 0 to go on; -errno ends it */
typedef int (*take_fn)(void *arg, size_t n, const uint8_t *msg);

/* Calls @take for each message of an image. Return: 0; -errno with @e */
static int each(const char *name, const uint8_t *img, size_t bytes, take_fn take, void *arg,
                struct err *e)
{
	size_t at = HEAD_BYTES, n;
	const uint8_t *msg;
	int r = bytes < HEAD_BYTES ? -EBADMSG : 1;

	while (r > 0 && (r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		int taken = take(arg, n, msg);

		r = taken < 0 ? taken : r;
	}
	return r < 0 ? err_set(e, ERR_CRIU, -r, "image %s: %s", name, strerror(-r)) : 0;
}

/* ---- sockets ---- */

struct sockets {
	struct img_socket *v;
	size_t n;
};

/* Return: 1 its name is a path; 0; -EBADMSG */
static int take_socket(const Cimg__UnixSk *s, struct img_socket *out)
{
	const char *dir = s->name_dir ? s->name_dir : "";

	if (!s->name.len || !s->name.data[0] || s->deleted)
		return 0;
	size_t n = strnlen((const char *)s->name.data, s->name.len);
	bool whole = s->name.data[0] == '/';
	int len = snprintf(out->path, sizeof(out->path), "%s%s%.*s", whole ? "" : dir,
	                   whole ? "" : "/", (int)n, (const char *)s->name.data);

	if (len < 0 || (size_t)len >= sizeof(out->path) || out->path[0] != '/')
		return -EBADMSG;
	out->uid = s->file_perms ? s->file_perms->uid : UINT32_MAX;
	out->gid = s->file_perms ? s->file_perms->gid : UINT32_MAX;
	out->mode = s->file_perms ? s->file_perms->mode : 0;
	out->outside = s->uflags & USK_EXTERN;
	return 1;
}

static int add_socket(void *arg, size_t n, const uint8_t *msg)
{
	struct sockets *l = arg;
	struct img_socket s;
	Cimg__File *f = cimg__file__unpack(NULL, n, msg);
	int r = !f ? -EBADMSG : f->usk ? take_socket(f->usk, &s) : 0;

	if (f)
		cimg__file__free_unpacked(f, NULL);
	if (r <= 0)
		return r;
	struct img_socket *more = realloc(l->v, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->v = more;
	more[l->n++] = s;
	return 0;
}

int img_sockets(int dirfd, struct img_socket **out, size_t *n, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	struct sockets l = { 0 };
	size_t bytes;
	int r = img_load_framed(dirfd, "files.img", MAGIC_FILES, &img, &bytes, e);

	r = r < 0 ? r : each("files.img", img, bytes, add_socket, &l, e);
	*out = l.v;
	*n = l.n;
	return r;
}

/* ---- files ---- */

/* Calls @take for each message of @name, which may be missing. */
static int each_of(int dirfd, const char *name, struct img_regs *l, take_fn take, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	size_t bytes;
	int r = img_load(dirfd, name, IMAGE_BYTES_MAX, &img, &bytes, e);

	return r < 0 ? r : each(name, img, bytes, take, l, e);
}

static int take_reg(void *arg, size_t n, const uint8_t *msg)
{
	struct img_regs *l = arg;
	Cimg__File *f = cimg__file__unpack(NULL, n, msg);
	int r = f ? 0 : -EBADMSG;

	if (f && f->reg) {
		char *name = strdup(f->reg->name);

		r = name ? array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) : -ENOMEM;
		if (r == 0)
			l->v[l->n++] = (struct img_reg){ .name = name,
				                         .id = f->reg->id,
				                         .flags = f->reg->flags,
				                         .mode = f->reg->mode,
				                         .size = f->reg->has_size ? f->reg->size
				                                                  : IMG_SIZE_ANY };
		else
			free(name);
	}
	if (f)
		cimg__file__free_unpacked(f, NULL);
	return r;
}

static int by_id(const void *a, const void *b)
{
	const struct img_reg *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int take_remap(void *arg, size_t n, const uint8_t *msg)
{
	struct img_regs *l = arg;
	Cimg__RemapPath *p = cimg__remap_path__unpack(NULL, n, msg);

	if (!p)
		return -EBADMSG;
	const struct img_reg key = { .id = p->orig_id };
	struct img_reg *of = l->n ? bsearch(&key, l->v, l->n, sizeof(key), by_id) : NULL;

	if (of) {
		of->nameless = true;
		of->ghost = p->type == REMAP_GHOST ? p->remap_id : 0;
	}
	cimg__remap_path__free_unpacked(p, NULL);
	return 0;
}

int img_regs(int dirfd, struct img_regs *out, struct err *e)
{
	struct err none = ERR_INIT;

	*out = (struct img_regs){ 0 };
	int r = each_of(dirfd, "files.img", out, take_reg, e);

	if (r < 0)
		return r;
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), by_id);
	r = each_of(dirfd, "remap-fpath.img", out, take_remap, &none);
	if (r < 0 && r != -ENOENT)
		*e = none;
	return r == -ENOENT ? 0 : r;
}

void img_regs_fini(struct img_regs *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].name);
	free(l->v);
	*l = (struct img_regs){ 0 };
}
