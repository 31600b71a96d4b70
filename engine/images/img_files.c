// SPDX-License-Identifier: GPL-2.0-or-later
/* img_files.c - change entries of files.img: one function for all of them; timers, connections, UNIX sockets. */
#include "engine/images/img_priv.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include "engine/images/images.pb-c.h"

#define FILES     "files.img"
#define SHUT_BOTH 3u /* CRIU's number */

/* An image while it is written anew. */
struct edit {
	const struct img_kind *kind;
	uint8_t *img;
	size_t bytes;
	FILE *out;
};

/* Return: 1 when an entry has changed; 0; -errno */
static int edit_all(const struct edit *d, img_change_fn fn, void *arg, struct err *e)
{
	size_t at = 8, n;
	bool changed = false;
	const uint8_t *msg;
	int r;

	while ((r = img_next(d->img, d->bytes, &at, &msg, &n)) > 0) {
		ProtobufCMessage *m = protobuf_c_message_unpack(d->kind->of, NULL, n, msg);

		if (!m)
			return err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense",
			               d->kind->name);
		r = fn(arg, m, e);
		changed |= r > 0;
		if (r >= 0 && img_put_message(d->out, m) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for %s", d->kind->name);
		protobuf_c_message_free_unpacked(m, NULL);
		if (r < 0)
			return r;
	}
	return r < 0 ? err_set(e, ERR_CRIU, -r, "image %s is cut short", d->kind->name) : changed;
}

int img_edit(int dirfd, const struct img_kind *kind, img_change_fn fn, void *arg, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	AUTO(mem) char *text = NULL;
	size_t bytes, n = 0;
	int r = img_load_framed(dirfd, kind->name, kind->magic, &img, &bytes, e);

	if (r < 0)
		return r;
	AUTO(file) FILE *out = open_memstream(&text, &n);

	if (!out || fwrite(img, 1, 8, out) != 8)
		return err_sys(e, "write %s", kind->name);
	r = edit_all(&(struct edit){ kind, img, bytes, out }, fn, arg, e);
	if (r <= 0)
		return r;
	if (fflush(out) != 0)
		return err_sys(e, "write %s", kind->name);
	return img_save(dirfd, kind->name, text, n, e);
}

struct on_file {
	img_edit_fn fn;
	void *arg;
};

static int edit_file(void *arg, ProtobufCMessage *m, struct err *e)
{
	const struct on_file *f = arg;

	return f->fn(f->arg, (Cimg__File *)m, e);
}

int img_edit_files(int dirfd, img_edit_fn fn, void *arg, struct err *e)
{
	static const struct img_kind files = { FILES, MAGIC_FILES, &cimg__file__descriptor };

	return img_edit(dirfd, &files, edit_file, &(struct on_file){ fn, arg }, e);
}

/* ---- timers ---- */

/*
 * A periodic timer that has expired is started again by the next read, so the kernel tells no time
 * left; CRIU would take that for a timer that is off. It gets a whole period, and keeps its ticks.
 * An absolute time becomes the time left: CRIU adds whole seconds only, so it could be up to a
 * second early, and the monotonic clock of this host is another. A timer that is to be told when the
 * wall clock is set has to stay absolute.
 */
static int fit_timer(void *arg, Cimg__File *f, struct err *e)
{
	Cimg__Timerfd *t = f->tfd;
	bool *great = arg;

	(void)e;
	*great |= f->efd && f->efd->counter > UINT32_MAX;
	if (!t)
		return 0;
	bool again = !t->vsec && !t->vnsec && t->ticks && (t->isec || t->insec);
	bool absolute = (t->settime_flags & TFD_TIMER_ABSTIME) &&
	                !(t->settime_flags & TFD_TIMER_CANCEL_ON_SET);

	if (again) {
		t->vsec = t->isec;
		t->vnsec = t->insec;
	}
	if (absolute)
		t->settime_flags &= ~(uint32_t)TFD_TIMER_ABSTIME;
	return again || absolute;
}

int img_fit_timers(int dirfd, bool *great, struct err *e)
{
	*great = false;
	return img_edit_files(dirfd, fit_timer, great, e);
}

/* ---- connections ---- */

struct closed {
	const uint64_t *inode;
	size_t n;
};

/* As CRIU restores a closed one: not bound, since the destination may lack the address. */
static int close_connection(void *arg, Cimg__File *f, struct err *e)
{
	const struct closed *c = arg;
	Cimg__InetSk *s = f->isk;

	(void)e;
	for (size_t i = 0; s && i < c->n; i++) {
		if (s->ino != (uint32_t)c->inode[i] || s->proto != IPPROTO_TCP)
			continue;
		s->state = TCP_CLOSE;
		s->src_port = s->dst_port = 0;
		s->has_shutdown = true;
		s->shutdown = SHUT_BOTH;
		return 1;
	}
	return 0;
}

int img_close_connections(int dirfd, const uint64_t *inode, size_t n, struct err *e)
{
	struct closed c = { inode, n };

	return n ? img_edit_files(dirfd, close_connection, &c, e) : 0;
}

/* ---- UNIX sockets ---- */

struct renames {
	const struct img_rename *v;
	size_t n;
};

static int rename_socket(Cimg__UnixSk *s, const struct img_rename *to)
{
	size_t n = strlen(to->name) + 1;
	uint8_t *name = malloc(n);
	Cimg__FilePerms *perms = s->file_perms ? s->file_perms : malloc(sizeof(*perms));

	if (!name || !perms) {
		free(name);
		if (!s->file_perms)
			free(perms);
		return -ENOMEM;
	}
	memcpy(name, to->name, n);
	free(s->name.data);
	s->name = (ProtobufCBinaryData){ n, name };
	if (!s->file_perms)
		cimg__file_perms__init(perms);
	perms->mode = to->mode;
	perms->uid = to->uid;
	perms->gid = to->gid;
	s->file_perms = perms;
	s->has_deleted = false;
	return 0;
}

static int fit_socket(void *arg, Cimg__File *f, struct err *e)
{
	const struct renames *r = arg;

	for (size_t k = 0; f->usk && k < r->n; k++) {
		if (f->usk->ino != r->v[k].inode)
			continue;
		return rename_socket(f->usk, &r->v[k]) < 0
		               ? err_set(e, ERR_SYS, ENOMEM, "no memory for %s", FILES)
		               : 1;
	}
	return 0;
}

int img_rename_sockets(int dirfd, const struct img_rename *v, size_t n, struct err *e)
{
	struct renames r = { v, n };

	return n ? img_edit_files(dirfd, fit_socket, &r, e) : 0;
}

/* ---- other names ---- */

struct relinks {
	const struct img_relink *v;
	size_t n;
};

static int relink_file(void *arg, Cimg__File *f, struct err *e)
{
	const struct relinks *r = arg;

	for (size_t k = 0; f->reg && k < r->n; k++) {
		if (strcmp(f->reg->name, r->v[k].from) != 0)
			continue;
		char *name = strdup(r->v[k].to);

		if (!name)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", FILES);
		free(f->reg->name);
		f->reg->name = name;
		return 1;
	}
	return 0;
}

int img_relink_files(int dirfd, const struct img_relink *v, size_t n, struct err *e)
{
	struct relinks r = { v, n };

	return n ? img_edit_files(dirfd, relink_file, &r, e) : 0;
}
