// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * refit.c - replace files that are connected to processes outside the tree, between CRIU's dump
 * and its restore: files.img lists each open file once, fdinfo-ID.img maps descriptors to files.
 */
#include "engine/images/refit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/array.h"
#include "engine/images/images.pb-c.h"
#include "engine/images/img.h"

#define FILES_BYTES_MAX (64u << 20)
#define HEAD_BYTES      8
#define TYPE_REG        1
#define TYPE_TTY        REFIT_TTY
#define POS_NONE        UINT64_MAX /* CRIU does not seek */
#define NULL_PATH       "/dev/null"

/* One image with its messages unpacked. */
struct img {
	char name[32];
	const ProtobufCMessageDescriptor *of;
	uint8_t head[HEAD_BYTES];
	ProtobufCMessage **v;
	size_t n, cap;
};

struct table {
	uint32_t id;
	struct img img;
};

struct refitter {
	int dirfd;
	struct img_tree tree;
	struct img files;
	struct table *tables; /* of descriptors */
	size_t *table_of; /* of each task of the tree */
	size_t n_tables;
	uint32_t next_id;
	bool tty_gone, tty_kept;
	struct err *e;
};

void refit_name(unsigned int n, char out[REFIT_NAME_BYTES])
{
	snprintf(out, REFIT_NAME_BYTES, "haul-place-%u", n);
}

/* ---- images ---- */

static int img_push(struct img *i, ProtobufCMessage *m)
{
	if (array_grow(&i->v, i->n, &i->cap, sizeof(*i->v)) < 0)
		return -ENOMEM;
	i->v[i->n++] = m;
	return 0;
}

static int img_read(struct refitter *r, struct img *i, const ProtobufCMessageDescriptor *of,
                    const char *name)
{
	AUTO(mem) uint8_t *data = NULL;
	size_t bytes;

	i->of = of;
	snprintf(i->name, sizeof(i->name), "%s", name);
	if (img_load(r->dirfd, name, FILES_BYTES_MAX, &data, &bytes, r->e) < 0)
		return -r->e->code;
	size_t at = HEAD_BYTES;

	if (bytes < HEAD_BYTES)
		return err_set(r->e, ERR_CRIU, EBADMSG, "image %s is cut short", name);
	memcpy(i->head, data, HEAD_BYTES);
	while (at < bytes) {
		uint32_t n = 0;

		if (bytes - at >= 4)
			n = (uint32_t)data[at] | (uint32_t)data[at + 1] << 8 |
			    (uint32_t)data[at + 2] << 16 | (uint32_t)data[at + 3] << 24;
		if (n == 0 || n > bytes - at - 4)
			return err_set(r->e, ERR_CRIU, EBADMSG, "image %s is cut short", name);
		ProtobufCMessage *m = protobuf_c_message_unpack(of, NULL, n, data + at + 4);

		if (!m)
			return err_set(r->e, ERR_CRIU, EBADMSG, "image %s makes no sense", name);
		if (img_push(i, m) < 0) {
			protobuf_c_message_free_unpacked(m, NULL);
			return err_set(r->e, ERR_SYS, ENOMEM, "no memory for image %s", name);
		}
		at += 4 + n;
	}
	return 0;
}

static void img_drop(struct img *i, size_t k)
{
	protobuf_c_message_free_unpacked(i->v[k], NULL);
	memmove(&i->v[k], &i->v[k + 1], (--i->n - k) * sizeof(*i->v));
}

static void img_fini(struct img *i)
{
	for (size_t k = 0; k < i->n; k++)
		protobuf_c_message_free_unpacked(i->v[k], NULL);
	free(i->v);
	*i = (struct img){ 0 };
}

static int img_write(const struct refitter *r, const struct img *i)
{
	size_t bytes = HEAD_BYTES, at = HEAD_BYTES;

	for (size_t k = 0; k < i->n; k++)
		bytes += 4 + protobuf_c_message_get_packed_size(i->v[k]);
	AUTO(mem) uint8_t *data = malloc(bytes);

	if (!data)
		return err_set(r->e, ERR_SYS, ENOMEM, "no memory for image %s", i->name);
	memcpy(data, i->head, HEAD_BYTES);
	for (size_t k = 0; k < i->n; k++) {
		size_t n = protobuf_c_message_pack(i->v[k], data + at + 4);

		for (int b = 0; b < 4; b++)
			data[at + (size_t)b] = (uint8_t)(n >> 8 * b);
		at += 4 + n;
	}
	return img_save(r->dirfd, i->name, data, bytes, r->e);
}

/* ---- all descriptors ---- */

static int files_id(struct refitter *r, pid_t pid, uint32_t *id)
{
	struct img ids = { 0 };
	char name[32];

	snprintf(name, sizeof(name), "ids-%d.img", pid);
	if (faccessat(r->dirfd, name, F_OK, 0) < 0) {
		*id = 0; /* a zombie has no descriptors */
		return 0;
	}
	int rc = img_read(r, &ids, &cimg__task_ids__descriptor, name);

	*id = rc == 0 && ids.n ? ((Cimg__TaskIds *)ids.v[0])->files_id : 0;
	img_fini(&ids);
	return rc;
}

static int read_table(struct refitter *r, size_t task)
{
	struct table *t;
	char name[32];
	uint32_t id = 0;
	int rc = files_id(r, r->tree.v[task].pid, &id);

	r->table_of[task] = SIZE_MAX;
	if (rc < 0 || id == 0)
		return rc;
	for (size_t k = 0; k < r->n_tables; k++)
		if (r->tables[k].id == id) {
			r->table_of[task] = k;
			return 0;
		}
	t = &r->tables[r->n_tables];
	t->id = id;
	snprintf(name, sizeof(name), "fdinfo-%u.img", id);
	if (faccessat(r->dirfd, name, F_OK, 0) < 0)
		return 0;
	r->table_of[task] = r->n_tables++;
	return img_read(r, &t->img, &cimg__fdinfo__descriptor, name);
}

static int read_all(struct refitter *r)
{
	int rc = img_tree(r->dirfd, &r->tree, r->e);

	if (rc < 0)
		return rc;
	rc = img_read(r, &r->files, &cimg__file__descriptor, "files.img");
	if (rc < 0)
		return rc;
	r->tables = calloc(r->tree.n + 1, sizeof(*r->tables));
	r->table_of = calloc(r->tree.n + 1, sizeof(*r->table_of));
	if (!r->tables || !r->table_of)
		return err_set(r->e, ERR_SYS, ENOMEM, "no memory for descriptors");
	for (size_t k = 0; rc == 0 && k < r->tree.n; k++)
		rc = read_table(r, k);
	for (size_t k = 0; k < r->files.n; k++) {
		uint32_t id = ((Cimg__File *)r->files.v[k])->id;

		r->next_id = id >= r->next_id ? id + 1 : r->next_id;
	}
	return rc;
}

static Cimg__Fdinfo *find_fd(struct refitter *r, pid_t pid, int fd)
{
	for (size_t k = 0; k < r->tree.n; k++) {
		if (r->tree.v[k].pid != pid || r->table_of[k] == SIZE_MAX)
			continue;
		const struct img *t = &r->tables[r->table_of[k]].img;

		for (size_t f = 0; f < t->n; f++)
			if (((Cimg__Fdinfo *)t->v[f])->fd == (uint32_t)fd)
				return (Cimg__Fdinfo *)t->v[f];
	}
	return NULL;
}

static Cimg__File *find_file(struct refitter *r, const Cimg__Fdinfo *d)
{
	for (size_t k = 0; k < r->files.n; k++) {
		Cimg__File *f = (Cimg__File *)r->files.v[k];

		if (f->id == d->id && f->type == d->type)
			return f;
	}
	return NULL;
}

/* ---- one file becomes another ---- */

static int new_reg(struct refitter *r, uint32_t id, uint32_t flags, const char *name)
{
	Cimg__File *f = malloc(sizeof(*f));
	Cimg__RegFile *reg = malloc(sizeof(*reg));
	Cimg__Fown *fown = malloc(sizeof(*fown));
	char *copy = strdup(name);

	if (f && reg && fown && copy) {
		cimg__file__init(f);
		cimg__reg_file__init(reg);
		cimg__fown__init(fown);
		f->type = TYPE_REG;
		f->id = reg->id = id;
		f->reg = reg;
		reg->flags = flags;
		reg->pos = POS_NONE;
		reg->fown = fown;
		reg->name = copy;
		if (img_push(&r->files, &f->base) == 0)
			return 0;
	}
	free(f);
	free(reg);
	free(fown);
	free(copy);
	return err_set(r->e, ERR_SYS, ENOMEM, "no memory for a file");
}

/*
 * The kernel would have removed a closed descriptor from the set; a plain file cannot be in one.
 */
static void leave_epolls(struct refitter *r, size_t table, uint32_t fd)
{
	for (size_t k = 0; k < r->files.n; k++) {
		Cimg__File *f = (Cimg__File *)r->files.v[k];
		bool here = false;

		if (!f->epfd)
			continue;
		for (size_t d = 0; d < r->tables[table].img.n; d++) {
			const Cimg__Fdinfo *i = (Cimg__Fdinfo *)r->tables[table].img.v[d];

			here |= i->id == f->id && i->type == f->type;
		}
		for (size_t t = 0; here && t < f->epfd->n_tfd;) {
			if (f->epfd->tfd[t]->tfd != fd) {
				t++;
				continue;
			}
			cimg__epoll_target__free_unpacked(f->epfd->tfd[t], NULL);
			memmove(&f->epfd->tfd[t], &f->epfd->tfd[t + 1],
			        (--f->epfd->n_tfd - t) * sizeof(*f->epfd->tfd));
		}
	}
}

/* Close every descriptor of file @id of @type, or make it one of a plain file. */
static int turn(struct refitter *r, uint32_t id, uint32_t type, const struct refit *want,
                uint32_t null_id)
{
	for (size_t t = 0; t < r->n_tables; t++) {
		struct img *img = &r->tables[t].img;

		for (size_t k = 0; k < img->n;) {
			Cimg__Fdinfo *d = (Cimg__Fdinfo *)img->v[k];

			if (d->id != id || d->type != type) {
				k++;
				continue;
			}
			if (!want->polls)
				leave_epolls(r, t, d->fd);
			if (want->to == REFIT_CLOSE) {
				img_drop(img, k);
				continue;
			}
			d->type = TYPE_REG;
			d->id = null_id && d->fd == 0 ? null_id : id;
			k++;
		}
	}
	return 0;
}

static bool has_users(const struct refitter *r, uint32_t id)
{
	for (size_t t = 0; t < r->n_tables; t++)
		for (size_t k = 0; k < r->tables[t].img.n; k++) {
			const Cimg__Fdinfo *d = (Cimg__Fdinfo *)r->tables[t].img.v[k];

			if (d->id == id && d->type == TYPE_REG)
				return true;
		}
	return false;
}

static int replace(struct refitter *r, size_t at, const struct refit *want)
{
	const Cimg__File *f = (Cimg__File *)r->files.v[at];
	uint32_t id = f->id, type = f->type, null_id = 0;
	char name[REFIT_NAME_BYTES + 1] = "/";

	if (type == TYPE_TTY && want->to == REFIT_PLACE)
		null_id = r->next_id++;
	r->tty_gone |= type == TYPE_TTY;
	img_drop(&r->files, at);
	turn(r, id, type, want, null_id);
	refit_name(want->place, name + 1);
	int rc = 0;

	/* CRIU does not expect a file without descriptors */
	if (want->to != REFIT_CLOSE && has_users(r, id))
		rc = new_reg(r, id, O_RDWR, want->to == REFIT_NULL ? NULL_PATH : name);
	if (rc)
		return rc;
	if (null_id && has_users(r, null_id))
		rc = new_reg(r, null_id, O_RDWR, NULL_PATH);
	return rc;
}

/* Is @f part of the same pipe, socket or terminal as @first? */
static bool is_meant(const Cimg__File *f, const Cimg__File *first)
{
	if (f->type != first->type)
		return false;
	if (f->pipe && first->pipe)
		return f->pipe->pipe_id == first->pipe->pipe_id;
	if (f->tty && first->tty)
		return f->tty->tty_info_id == first->tty->tty_info_id;
	return f->id == first->id;
}

static bool is_as_seen(const Cimg__File *f, const struct refit *want)
{
	if (want->kind != REFIT_ANY && f->type != (uint32_t)want->kind)
		return false;
	if (want->kind == REFIT_PIPE)
		return f->pipe && f->pipe->pipe_id == (uint32_t)want->inode;
	if (want->kind == REFIT_UNIX)
		return f->usk && f->usk->ino == (uint32_t)want->inode;
	return true;
}

static int refit_one(struct refitter *r, const struct refit *want)
{
	const Cimg__Fdinfo *d = find_fd(r, want->pid, want->fd);
	const Cimg__File *first = d ? find_file(r, d) : NULL;
	int rc = 0;

	if (!first)
		return 0; /* it was closed since */
	if (first->type == TYPE_REG && want->kind != REFIT_ANY)
		return 0; /* already replaced, as the same terminal under another number */
	if (!is_as_seen(first, want)) {
		err_set(r->e, ERR_TARGET, ESTALE,
		        "descriptor %d of pid %d has become another file meanwhile", want->fd,
		        want->pid);
		return err_fix(r->e, "try again");
	}
	if (want->to == REFIT_TTY_KEPT) {
		r->tty_kept = true;
		return 0;
	}
	Cimg__File like = *first; /* it adds to the lists */
	Cimg__Pipe pipe = CIMG__PIPE__INIT;
	Cimg__Tty tty = CIMG__TTY__INIT;

	if (first->pipe)
		pipe.pipe_id = first->pipe->pipe_id;
	if (first->tty)
		tty.tty_info_id = first->tty->tty_info_id;
	like.pipe = first->pipe ? &pipe : NULL;
	like.tty = first->tty ? &tty : NULL;
	for (size_t k = 0; rc == 0 && k < r->files.n;) {
		if (!is_meant((Cimg__File *)r->files.v[k], &like)) {
			k++;
			continue;
		}
		rc = replace(r, k, want);
		if (!like.pipe && !like.tty)
			break; /* there is one of that number, which the new entry shares */
	}
	return rc;
}

/* ---- terminals ---- */

static bool in_tree(const struct refitter *r, uint32_t pid)
{
	for (size_t k = 0; k < r->tree.n; k++)
		if ((uint32_t)r->tree.v[k].pid == pid)
			return true;
	return false;
}

static bool tty_used(const struct refitter *r, uint32_t info)
{
	for (size_t k = 0; k < r->files.n; k++) {
		const Cimg__File *f = (Cimg__File *)r->files.v[k];

		if (f->tty && f->tty->tty_info_id == info)
			return true;
	}
	return false;
}

/*
 * Remove terminals that are no longer terminals; for the others CRIU looks for the session's
 * leader.
 */
static int fix_ttys(struct refitter *r)
{
	struct img info = { 0 };

	if ((!r->tty_gone && !r->tty_kept) || faccessat(r->dirfd, "tty-info.img", F_OK, 0) < 0)
		return 0;
	int rc = img_read(r, &info, &cimg__tty_info__descriptor, "tty-info.img");

	for (size_t k = 0; rc == 0 && k < info.n;) {
		Cimg__TtyInfo *t = (Cimg__TtyInfo *)info.v[k];

		if (!tty_used(r, t->id)) {
			img_drop(&info, k);
			continue;
		}
		if (t->sid && !in_tree(r, t->sid))
			t->sid = t->pgrp = 0;
		k++;
	}
	rc = rc < 0 ? rc : img_write(r, &info);
	img_fini(&info);
	return rc;
}

static int refit_all(struct refitter *r, const struct refit *v, size_t n)
{
	int rc = read_all(r);

	for (size_t k = 0; rc == 0 && k < n; k++)
		rc = refit_one(r, &v[k]);
	if (rc)
		return rc;
	rc = img_write(r, &r->files);
	for (size_t k = 0; rc == 0 && k < r->n_tables; k++)
		rc = img_write(r, &r->tables[k].img);
	return rc ? rc : fix_ttys(r);
}

int refit_images(int dirfd, const struct refit *v, size_t n, struct err *e)
{
	struct refitter r = { .dirfd = dirfd, .e = e };
	int rc = n ? refit_all(&r, v, n) : 0;

	for (size_t k = 0; k < r.n_tables; k++)
		img_fini(&r.tables[k].img);
	img_fini(&r.files);
	img_tree_fini(&r.tree);
	free(r.tables);
	free(r.table_of);
	return rc < 0 ? err_wrap(e, "files that lead out of the tree") : 0;
}
