// SPDX-License-Identifier: GPL-2.0-or-later
/* img_locks.c - filelocks.img: the locks that CRIU will take at the destination. */
#include "engine/images/img_priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "engine/images/images.pb-c.h"

#define FILE_LOCKS       "filelocks.img"
#define MAGIC_FILE_LOCKS 0x54323616u
#define HEAD_BYTES       8
#define SIZE_BYTES       4 /* before each message */

/* CRIU's kinds; it has leases, too. */
#define FL_POSIX 1u
#define FL_FLOCK 2u
#define FL_OFD   4u

static int add(struct img_lock **v, size_t *n, size_t *cap, const Cimg__FileLock *l)
{
	if (!(l->flag & (FL_POSIX | FL_FLOCK | FL_OFD)))
		return 0;
	if (array_grow(v, *n, cap, sizeof(**v)) < 0)
		return -ENOMEM;
	(*v)[(*n)++] = (struct img_lock){
		.kind = l->flag & FL_FLOCK ? IMG_LOCK_FLOCK
		        : l->flag & FL_OFD ? IMG_LOCK_OFD
		                           : IMG_LOCK_POSIX,
		.type = (short)l->type,
		.pid = l->pid,
		.fd = l->fd,
		.start = l->start,
		.len = l->len,
	};
	return 0;
}

int img_locks(int dirfd, struct img_lock **out, size_t *n, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	AUTO(mem) struct img_lock *v = NULL;
	const uint8_t *msg;
	size_t bytes, len, at = 8, cap = 0;
	int r = img_load_framed(dirfd, FILE_LOCKS, MAGIC_FILE_LOCKS, &img, &bytes, e);

	*n = 0;
	*out = NULL;
	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	while ((r = img_next(img, bytes, &at, &msg, &len)) > 0) {
		Cimg__FileLock *l = cimg__file_lock__unpack(NULL, len, msg);

		r = l ? add(&v, n, &cap, l) : -EBADMSG;
		cimg__file_lock__free_unpacked(l, NULL);
		if (r < 0)
			break;
	}
	if (r < 0)
		return err_set(e, ERR_CRIU, -r, "image %s: %s", FILE_LOCKS, strerror(-r));
	*out = steal(v);
	return 0;
}

static const uint32_t flags[] = {
	[IMG_LOCK_FLOCK] = FL_FLOCK,
	[IMG_LOCK_POSIX] = FL_POSIX,
	[IMG_LOCK_OFD] = FL_OFD,
};

static int put(FILE *out, const struct img_lock *l)
{
	Cimg__FileLock m = CIMG__FILE_LOCK__INIT;

	m.flag = flags[l->kind];
	m.type = (uint32_t)l->type;
	m.pid = l->pid;
	m.fd = l->fd;
	m.start = l->start;
	m.len = l->len;
	return img_put_message(out, &m.base);
}

int img_locks_add(int dirfd, const struct img_lock *v, size_t n, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	AUTO(mem) char *text = NULL;
	size_t bytes = HEAD_BYTES, size = 0;
	uint8_t head[HEAD_BYTES];
	int r = img_load_framed(dirfd, FILE_LOCKS, MAGIC_FILE_LOCKS, &img, &bytes, e);

	if (r < 0 && r != -ENOENT)
		return r;
	err_clear(e);
	img_put_le32(head, MAGIC_COMMON);
	img_put_le32(head + SIZE_BYTES, MAGIC_FILE_LOCKS);
	AUTO(file) FILE *out = open_memstream(&text, &size);

	if (!out || fwrite(r < 0 ? head : img, 1, r < 0 ? HEAD_BYTES : bytes, out) < HEAD_BYTES)
		return err_sys(e, "write %s", FILE_LOCKS);
	r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = put(out, &v[i]);
	if (r < 0 || fflush(out) != 0)
		return err_sys(e, "write %s", FILE_LOCKS);
	return img_save(dirfd, FILE_LOCKS, text, size, e);
}
