// SPDX-License-Identifier: GPL-2.0-or-later
/* names.c - bind the restored UNIX sockets to their paths, and connect those of datagrams, each as its user. */
#include "agent/gate/names.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "agent/check/files.h"
#include "agent/check/reach.h"
#include "agent/files/bring.h"
#include "agent/gate/before.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/images/held.h"
#include "engine/images/img_names.h"
#include "engine/net/net.h"
#include "engine/proc/proc.h"

#define UNDO_TRIES 16 /* while its user renames the directory */
#define PERMS      0777

#define NAME_BYTES   (sizeof(((struct img_name *)0)->name) + 1)
#define SUFFIX_BYTES 24 /* of a file that was moved aside */

#ifndef SIOCUNIXFILE /* of linux/un.h, which does not go with sys/un.h */
#define SIOCUNIXFILE SIOCPROTOPRIVATE
#endif

/* What has been done for one socket. */
struct done {
	const struct rights_id *id; /* as whom */
	int file; /* O_PATH, of the socket's; -1: not bound */
	bool aside; /* a file had its name */
};

struct names {
	struct img_names img;
	struct done *done; /* of each name */
	struct net_unix *all; /* sockets of this host */
	size_t n_all;
};

int names_take(struct wrk *w, struct err *e)
{
	if (rights_all_root(&w->rights))
		return 0;
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for UNIX sockets");
	w->gate.names = n;
	int r = img_take_names(w->images_fd, &n->img, e);

	if (r < 0)
		return r;
	n->done = calloc(n->img.n + 1, sizeof(*n->done));
	if (!n->done)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for UNIX sockets");
	for (size_t i = 0; i < n->img.n; i++)
		n->done[i].file = -1;
	return 0;
}

void names_free(struct wrk *w)
{
	struct names *n = steal(w->gate.names);

	if (!n)
		return;
	for (size_t i = 0; n->done && i < n->img.n; i++)
		if (n->done[i].file >= 0)
			close(n->done[i].file);
	free(n->done);
	free(n->all);
	img_names_fini(&n->img);
	free(n);
}

/* ---- bind: system calls in a child that is the user ---- */

struct bind_job {
	const struct img_name *name;
	int fd;
	struct sockaddr_un a;
	socklen_t bytes;
	const struct stat *old; /* what may be moved aside; NULL: nothing has the name */
	char path[NAME_BYTES], aside[NAME_BYTES + SUFFIX_BYTES]; /* of the name as it was bound */
};

static int move_aside(const struct bind_job *j)
{
	struct stat st;

	if (!j->old)
		return 0;
	if (lstat(j->path, &st) < 0)
		return -errno;
	if (st.st_dev != j->old->st_dev || st.st_ino != j->old->st_ino)
		return -EADDRINUSE;
	return renameat2(AT_FDCWD, j->path, AT_FDCWD, j->aside, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

static void move_back(const struct bind_job *j)
{
	if (j->old)
		renameat2(AT_FDCWD, j->aside, AT_FDCWD, j->path, RENAME_NOREPLACE);
}

static int bind_as(void *arg)
{
	const struct bind_job *j = arg;

	umask(PERMS & ~j->name->mode);
	if (j->name->dir && chdir(j->name->dir) < 0)
		return -errno;
	int code = move_aside(j);

	if (code < 0)
		return code;
	if (bind(j->fd, (const struct sockaddr *)&j->a, j->bytes) < 0) {
		code = -errno;
		move_back(j);
		return code;
	}
	if (j->name->deleted) {
		unlink(j->path);
		move_back(j);
	}
	return j->name->listens && listen(j->fd, (int)j->name->backlog) < 0 ? -errno : 0;
}

/* ---- the parent ---- */

/* The whole path, as this host's root directory has it. Return: 0; -ENAMETOOLONG */
static int whole_path(const struct wrk *w, const struct img_name *n, char out[PATH_MAX])
{
	int len = snprintf(out, PATH_MAX, "%s%s%s%.*s", w->into_root ? w->into_root : "",
	                   n->dir ? n->dir : "", n->dir ? "/" : "",
	                   (int)strnlen((const char *)n->name, n->bytes), (const char *)n->name);

	return len < 0 || len >= PATH_MAX || out[0] != '/' ? -ENAMETOOLONG : 0;
}

static bool has_group(const struct rights_id *id, uint32_t gid)
{
	for (size_t i = 0; i < id->n_groups; i++)
		if (id->groups[i] == gid)
			return true;
	return id->gid == gid;
}

/* The file's owner at the source: a user of the tree, if root started the move. */
static bool may_give(const struct rights *r, const struct rights_id *id, const struct img_name *n,
                     const struct stat *st)
{
	if (n->uid == st->st_uid && (has_group(id, n->gid) || n->gid == st->st_gid))
		return true;
	for (size_t i = 0; !r->owned && i < r->n; i++)
		if (r->v[i].uid == n->uid || rights_is_root(&r->v[i]))
			return true;
	return !r->owned && rights_is_root(id);
}

/* The socket's very file, whatever its path leads to by now. */
static int give(const struct wrk *w, const struct img_name *n, struct done *d, int fd)
{
	struct stat st;

	d->file = ioctl(fd, SIOCUNIXFILE, 0);
	if (d->file < 0 || fstat(d->file, &st) < 0)
		return -errno;
	if (n->uid == UINT32_MAX || (n->uid == st.st_uid && n->gid == st.st_gid))
		return 0;
	if (!may_give(&w->rights, d->id, n, &st))
		return -EPERM;
	return fchownat(d->file, "", n->uid, n->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Is a socket bound to this very file? One that is not will never be. */
static bool is_live(const struct names *l, const struct stat *st)
{
	for (size_t i = 0; i < l->n_all; i++)
		if (l->all[i].dev == st->st_dev && l->all[i].file == (uint32_t)st->st_ino)
			return true;
	return false;
}

static int try_bind(const struct wrk *w, const struct img_name *n, struct done *d, const char *path)
{
	size_t len = strnlen((const char *)n->name, n->bytes);
	struct bind_job j = { .name = n,
		              .a.sun_family = AF_UNIX,
		              .bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		                                   n->bytes) };
	struct stat old;
	bool there = lstat(path, &old) == 0;

	d->id = before_binder(&w->rights, path, n->uid, there && !n->deleted ? &old : NULL);
	if (!d->id)
		return -EACCES;
	if (there && !n->deleted && (!S_ISSOCK(old.st_mode) || is_live(w->gate.names, &old)))
		return -EADDRINUSE;
	AUTO(fd) int fd = procs_copy_fd(berth_pid(w, n->pid), n->fd);

	if (fd < 0)
		return fd;
	memcpy(j.a.sun_path, n->name, n->bytes);
	memcpy(j.path, n->name, len);
	snprintf(j.aside, sizeof(j.aside), "%s.haul-%d", j.path, getpid());
	j.old = there ? &old : NULL;
	j.fd = fd;
	int code = reach_as(d->id, 0, w->into_root, bind_as, &j);

	d->aside = code == 0 && there && !n->deleted;
	return code < 0 ? code : give(w, n, d, fd);
}

static int bind_one(const struct wrk *w, const struct img_name *n, struct done *d, struct err *e)
{
	char path[PATH_MAX], clean[256];
	int r = whole_path(w, n, path);

	if (r == 0)
		r = try_bind(w, n, d, path);
	if (r == 0)
		return 0;
	files_clean(path, clean, sizeof(clean));
	err_set(e, ERR_TARGET, -r, "bind the UNIX socket %s as user %u: %s", clean,
	        d->id ? d->id->uid : n->uid, strerror(-r));
	return err_fix(e, "give that user the right there, or end the program that has the name");
}

/* ---- connections to them ---- */

struct link_job {
	int fd;
	struct sockaddr_un a;
	socklen_t bytes;
	uint32_t shutdown;
};

static int connect_as(void *arg)
{
	const struct link_job *j = arg;

	if (connect(j->fd, (const struct sockaddr *)&j->a, j->bytes) < 0)
		return -errno;
	return j->shutdown && shutdown(j->fd, (int)j->shutdown - 1) < 0 ? -errno : 0;
}

/* @id: out: who connects to it: the process itself, or root where that has given it. Return: O_PATH, the caller's; -errno */
static int find_outside(const struct wrk *w, const char *path, const struct rights_id **id)
{
	static const struct rights_id root = { .caps = UINT64_MAX };
	const struct bring_file *f = bring_find(w->bring, path);
	const struct rights_file was = { f ? f->uid : 0, f ? f->gid : 0, f ? f->mode : 0 };
	struct stat st;
	AUTO(fd) int fd = rights_open(*id, path, true, W_OK, &st);

	if (fd < 0) {
		fd = rights_given(&w->rights, *id, path, f ? &was : NULL, W_OK, &st);
		*id = &root;
	}
	if (fd < 0)
		return -EACCES;
	return S_ISSOCK(st.st_mode) ? steal_fd(&fd) : -ECONNREFUSED;
}

/* The address of what @l connects to. @file: out: what the address needs open; -1 */
static int address(const struct wrk *w, const struct img_link *l, const struct rights_id **id,
                   struct link_job *j, int *file)
{
	const struct img_name *n = &w->gate.names->img.v[l->to];
	char path[PATH_MAX];
	int of = w->gate.names->done[l->to].file;

	*file = -1;
	j->bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n->bytes);
	if (n->outside && !n->name[0]) {
		memcpy(j->a.sun_path, n->name, n->bytes);
		return 0;
	}
	if (n->outside) {
		snprintf(path, sizeof(path), "%s%s%.*s", n->dir ? n->dir : "", n->dir ? "/" : "",
		         (int)strnlen((const char *)n->name, n->bytes), (const char *)n->name);
		of = *file = find_outside(w, path, id);
	}
	if (of < 0)
		return of;
	j->bytes = sizeof(j->a);
	snprintf(j->a.sun_path, sizeof(j->a.sun_path), "/proc/self/fd/%d", of);
	return 0;
}

static bool is_connected(const struct names *n, const struct img_link *l)
{
	for (const struct img_link *k = n->img.link; k < l; k++)
		if (k->id == l->id)
			return true;
	return false;
}

static int say_link(const struct wrk *w, const struct img_link *l, const struct img_creds *c,
                    int code, struct err *e)
{
	const struct img_name *n = &w->gate.names->img.v[l->to];
	char path[sizeof(n->name) + 1];

	if (!n->outside)
		return err_set(e, ERR_TARGET, -code,
		               "connect UNIX socket %d of pid %d within the tree: %s", l->fd,
		               l->pid, strerror(-code));
	snprintf(path, sizeof(path), "%.*s", (int)n->bytes - !n->name[0],
	         (const char *)n->name + !n->name[0]);
	files_clean(path, path, sizeof(path));
	err_set(e, ERR_TARGET, -code,
	        "fd %d of pid %d (user %u): %s UNIX socket %s at the destination%s%s", l->fd,
	        l->pid, c->uid,
	        code == -EACCES ? "that user may not send to the" : "it cannot be connected to the",
	        path, code == -EACCES ? "" : ": ", code == -EACCES ? "" : strerror(-code));
	return err_fix(e, "give user %u the right there, and see that its program runs there",
	               c->uid);
}

static int try_link(const struct wrk *w, const struct img_link *l, const struct rights_id *id)
{
	struct link_job j = { .a.sun_family = AF_UNIX, .shutdown = l->shutdown };
	AUTO(fd) int file = -1;
	int r = address(w, l, &id, &j, &file);

	if (r < 0 || is_connected(w->gate.names, l))
		return r;
	AUTO(fd) int fd = procs_copy_fd(berth_pid(w, l->pid), l->fd);

	j.fd = fd;
	return fd < 0 ? fd : reach_as(id, 0, NULL, connect_as, &j);
}

static int link_one(const struct wrk *w, const struct img_link *l, struct err *e)
{
	struct img_creds c;
	int r = img_creds(w->images_fd, l->pid, &c, e);

	if (r < 0)
		return r == -ENODATA ? 0 : r;
	const struct rights_id id = { c.uid, c.gid, c.groups, c.n_groups, c.caps };

	r = try_link(w, l, &id);
	r = r < 0 ? say_link(w, l, &c, r, e) : 0;
	img_creds_fini(&c);
	return r;
}

/* Their users could stop the children. */
static int in_time(uint64_t deadline_us, struct err *e)
{
	return now_us() < deadline_us ? 0
	                              : err_set(e, ERR_TARGET, ETIMEDOUT,
	                                        "no time is left to bind the UNIX sockets");
}

static bool has_own(const struct names *n)
{
	for (size_t i = 0; i < n->img.n; i++)
		if (!n->img.v[i].outside)
			return true;
	return false;
}

int names_bind(struct wrk *w, uint64_t deadline_us, struct err *e)
{
	struct names *n = w->gate.names;
	int r = n && has_own(n) ? net_unix_list(&n->all, &n->n_all, e) : 0;

	for (size_t i = 0; n && r == 0 && i < n->img.n; i++) {
		r = n->img.v[i].outside ? 0 : bind_one(w, &n->img.v[i], &n->done[i], e);
		r = r < 0 ? r : in_time(deadline_us, e);
	}
	for (size_t i = 0; n && r == 0 && i < n->img.n_links; i++) {
		r = link_one(w, &n->img.link[i], e);
		r = r < 0 ? r : in_time(deadline_us, e);
	}
	return r;
}

/* ---- undo, and what was moved aside ---- */

struct end_job {
	char path[PATH_MAX], aside[PATH_MAX + SUFFIX_BYTES]; /* where they are by now */
	struct stat st;
	bool undo, has_aside;
};

static int end_as(void *arg)
{
	const struct end_job *j = arg;
	struct stat st;

	if (lstat(j->path, &st) < 0 || st.st_dev != j->st.st_dev || st.st_ino != j->st.st_ino)
		return -ESTALE;
	if (!j->undo)
		return j->has_aside && unlink(j->aside) < 0 ? -errno : 0;
	if (unlink(j->path) < 0)
		return -errno;
	return j->has_aside && renameat2(AT_FDCWD, j->aside, AT_FDCWD, j->path, RENAME_NOREPLACE) <
	                               0
	               ? -errno
	               : 0;
}

/* Return: 0; -ESTALE: it is elsewhere by now */
static int try_end(struct done *d, bool undo)
{
	struct end_job j = { .undo = undo, .has_aside = d->aside };
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->file);
	ssize_t n = readlink(link, j.path, sizeof(j.path) - 1);

	if (n <= 0 || fstat(d->file, &j.st) < 0)
		return -errno;
	snprintf(j.aside, sizeof(j.aside), "%s.haul-%d", j.path, getpid());
	return j.st.st_nlink ? reach_as(d->id, 0, NULL, end_as, &j) : 0;
}

static void end_all(struct wrk *w, bool undo)
{
	struct names *n = w->gate.names;

	for (size_t i = 0; n && n->done && i < n->img.n; i++) {
		struct done *d = &n->done[i];
		int r = -ESTALE;

		if (d->file < 0 || n->img.v[i].deleted || (!undo && !d->aside))
			continue;
		for (int k = 0; k < UNDO_TRIES && r == -ESTALE; k++)
			r = try_end(d, undo);
		if (r < 0)
			log_warn("the file of a UNIX socket of user %u is left behind: %s",
			         d->id->uid, strerror(-r));
	}
}

void names_undo(struct wrk *w)
{
	end_all(w, true);
	names_free(w);
}

void names_keep(struct wrk *w)
{
	end_all(w, false);
	names_free(w);
}
