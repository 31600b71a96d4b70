// SPDX-License-Identifier: GPL-2.0-or-later
/* held.c - from images: the identity of each task, and the UNIX sockets that will be bound. */
#include "engine/criu/held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto.h"
#include "engine/criu/img_priv.h"

#define MAGIC_FILES 0x56303138u
#define USK_EXTERN  1u /* of unix_sk_entry.uflags: the socket of a program outside the tree */

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

/* ---- sockets ---- */

/* Return: 1 it is bound to a path; 0; -EBADMSG */
static int take_socket(const Cimg__UnixSk *s, struct img_socket *out)
{
	const char *dir = s->name_dir ? s->name_dir : "";

	if (!s->name.len || !s->name.data[0] || s->deleted || s->uflags & USK_EXTERN)
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
	return 1;
}

static int add_socket(const Cimg__File *f, struct img_socket **v, size_t *n)
{
	struct img_socket s;
	int r = f->usk ? take_socket(f->usk, &s) : 0;

	if (r <= 0)
		return r;
	struct img_socket *more = realloc(*v, (*n + 1) * sizeof(**v));

	if (!more)
		return -ENOMEM;
	*v = more;
	more[(*n)++] = s;
	return 0;
}

int img_sockets(int dirfd, struct img_socket **out, size_t *n, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	size_t bytes, at = 8, len;
	const uint8_t *msg;
	int r = img_load_framed(dirfd, "files.img", MAGIC_FILES, &img, &bytes, e);

	*out = NULL;
	*n = 0;
	if (r < 0)
		return r;
	while ((r = img_next(img, bytes, &at, &msg, &len)) > 0) {
		Cimg__File *f = cimg__file__unpack(NULL, len, msg);

		r = f ? add_socket(f, out, n) : -EBADMSG;
		if (f)
			cimg__file__free_unpacked(f, NULL);
		if (r < 0)
			break;
	}
	return r < 0 ? err_set(e, ERR_CRIU, -r, "image files.img: %s", strerror(-r)) : 0;
}
