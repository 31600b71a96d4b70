// SPDX-License-Identifier: GPL-2.0-or-later
/* pins.c - open files for CRIU whose paths others than root could swap while it works. */
#include "agent/gate/pins.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/check/files.h"
#include "agent/files/bring.h"
#include "agent/gate/before.h"
#include "agent/gate/here.h"
#include "common/array.h"
#include "engine/images/held.h"
#include "engine/images/img_pins.h"

struct pins {
	int *fd;
	size_t n, cap;
	struct img_pin *v;
	size_t n_v, cap_v;
	struct made {
		uint32_t ghost;
		int fd;
	} * made;
	size_t n_made, cap_made;
	/* the last directory that was looked at */
	char dir[PATH_MAX];
	int dir_fd; /* -1: none */
	bool dir_loose;
};

static void fini(struct pins *p)
{
	for (size_t i = 0; i < p->n; i++)
		close(p->fd[i]);
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	free(p->fd);
	free(p->v);
	free(p->made);
}

void pins_free(struct wrk *w)
{
	struct pins *p = steal(w->gate.pins);

	if (p)
		fini(p);
	free(p);
}

static int refuse(const char *path, int code, const char *why, struct err *e)
{
	char clean[256];

	files_clean(path, clean, sizeof(clean));
	err_set(e, ERR_TARGET, code, "%s: %s", clean, why);
	return err_fix(e, "see docs/SECURITY.md, \"files at the destination\"");
}

/* ---- who could swap it ---- */

/* Could others than root put something else in the place of @entry? An ACL that lets them shows in the group's mode. */
static bool is_loose(const struct stat *dir, const struct stat *entry)
{
	if (S_ISLNK(entry->st_mode) || dir->st_uid != 0)
		return true;
	if (!(dir->st_mode & (S_IWGRP | S_IWOTH)))
		return false;
	return !(dir->st_mode & S_ISVTX) || entry->st_uid != 0;
}

/* Return: 1; 0; -errno, also when it is not there */
static int step(int *dir, const char *name)
{
	AUTO(fd) int fd = openat(*dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat above, st;

	if (fd < 0 || fstat(*dir, &above) < 0 || fstat(fd, &st) < 0)
		return -errno;
	close(*dir);
	*dir = steal_fd(&fd);
	return is_loose(&above, &st);
}

/* The directory of @path, which ends at @n. Return: 1 others could swap it; 0; -errno */
static int enter_dir(struct pins *p, const char *path, size_t n)
{
	char name[NAME_MAX + 1];
	int r = 0;

	if (p->dir_fd >= 0 && strlen(p->dir) == n && !memcmp(p->dir, path, n))
		return p->dir_loose;
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	p->dir_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		return -errno;
	for (size_t at = 1; r == 0 && at < n;) {
		size_t len = strcspn(path + at, "/");

		if (len == 0 || len > NAME_MAX)
			return len ? -ENAMETOOLONG : -EINVAL;
		memcpy(name, path + at, len);
		name[len] = 0;
		r = step(&p->dir_fd, name);
		at += len + 1;
	}
	memcpy(p->dir, path, n);
	p->dir[n] = 0;
	p->dir_loose = r != 0; /* what cannot be found is left to the rights of the tree */
	return p->dir_loose;
}

/* @making: a file will be made there. Return: 1 CRIU may not use @path by itself; 0; -errno */
static int needs_pin(struct pins *p, const char *path, bool making)
{
	const char *slash = strrchr(path, '/');
	struct stat dir, st = { .st_uid = UINT32_MAX };

	if (strlen(path) >= PATH_MAX || !strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5))
		return 0;
	int r = enter_dir(p, path, (size_t)(slash - path));

	if (r)
		return r;
	if (fstat(p->dir_fd, &dir) < 0)
		return -errno;
	if (!making && fstatat(p->dir_fd, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* CRIU says that it is not there */
	return is_loose(&dir, &st);
}

/* ---- a file that has a name ---- */

static int keep_fd(struct pins *p, int fd)
{
	if (array_grow(&p->fd, p->n, &p->cap, sizeof(*p->fd)) < 0) {
		close(fd);
		return -ENOMEM;
	}
	p->fd[p->n++] = fd;
	return 0;
}

/* @below: a name in the directory @fd; NULL: the file itself */
static int add(struct pins *p, const struct img_reg *g, int fd, const char *below, bool made)
{
	if (array_grow(&p->v, p->n_v, &p->cap_v, sizeof(*p->v)) < 0)
		return -ENOMEM;
	struct img_pin *v = &p->v[p->n_v++];

	*v = (struct img_pin){ .id = g->id, .made = made };
	snprintf(v->name, sizeof(v->name), "/proc/%d/fd/%d%s%s", getpid(), fd, below ? "/" : "",
	         below ? below : "");
	return 0;
}

/* Return: a descriptor, the caller's; -errno */
static int find(const struct wrk *w, const char *path, int need, struct stat *st)
{
	const struct bring_file *f = bring_find(w->bring, path);
	const struct rights_file was = { f ? f->uid : 0, f ? f->gid : 0, f ? f->mode : 0 };
	int fd = rights_find(&w->rights, path, true, need, f ? &was : NULL, st);

	/* a program, or a working directory: the gate knows what it is to the process */
	if (fd == -EACCES && need == R_OK)
		fd = rights_find(&w->rights, path, true, X_OK, f ? &was : NULL, st);
	return fd;
}

static int say_missing(const char *path, int code, struct err *e)
{
	if (code == -ELOOP)
		return refuse(path, EACCES,
		              "a symbolic link that another user could change leads there", e);
	if (code == -EACCES)
		return refuse(path, EACCES, "no process of the tree may open it at the destination",
		              e);
	return refuse(path, -code, strerror(-code), e);
}

static int judge(const struct wrk *w, const struct img_reg *g, const struct stat *st, struct err *e)
{
	const struct bring_file *f = bring_find(w->bring, g->name);

	if (f && f->ino && (f->dev != st->st_dev || f->ino != st->st_ino))
		return refuse(g->name, ESTALE, "it is not the file that was accepted", e);
	if (g->mode && (g->mode & S_IFMT) != (st->st_mode & S_IFMT))
		return refuse(g->name, ESTALE, "it is another kind of file at the destination", e);
	if (S_ISREG(st->st_mode) && g->size != IMG_SIZE_ANY && g->size != (uint64_t)st->st_size)
		return refuse(g->name, ESTALE, "it has another size at the destination", e);
	return 0;
}

/*
 * CRIU opens it with O_NOFOLLOW, which would not follow /proc/PID/fd/N either: so its directory is given. A link in its
 * place is refused by the kernel, and a user's directory has nothing whose open does anything but wait.
 */
static int pin_below(struct wrk *w, const struct img_reg *g, struct err *e)
{
	const char *slash = strrchr(g->name, '/');
	char dir[PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof(dir), "%.*s", slash == g->name ? 1 : (int)(slash - g->name), g->name);
	int fd = rights_find(&w->rights, dir, true, X_OK, NULL, &st);

	if (fd < 0)
		return say_missing(dir, fd, e);
	int r = keep_fd(w->gate.pins, fd);

	r = r < 0 ? r : add(w->gate.pins, g, fd, slash + 1, false);
	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for files") : 0;
}

static int pin_file(struct wrk *w, const struct img_reg *g, struct err *e)
{
	struct stat st;

	if (g->flags & O_NOFOLLOW)
		return pin_below(w, g, e);
	AUTO(fd) int fd = find(w, g->name, rights_need(g->flags), &st);

	if (fd < 0)
		return say_missing(g->name, fd, e);
	int r = judge(w, g, &st, e);

	if (r < 0)
		return r;
	int kept = fd;

	r = keep_fd(w->gate.pins, steal_fd(&fd));
	r = r < 0 ? r : add(w->gate.pins, g, kept, NULL, false);
	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for files") : 0;
}

/* ---- a file that has lost its name ---- */

/* Its owner, if possible; another process of the tree; root, where root made it at the source. */
static const struct rights_id *find_maker(const struct wrk *w, const char *dir, uint32_t uid,
                                          int *fd)
{
	static const struct rights_id root = { .caps = UINT64_MAX };
	const struct rights_id *best = NULL;
	struct stat st;

	*fd = -1;
	for (size_t i = 0; i < w->rights.n; i++) {
		const struct rights_id *id = &w->rights.v[i];
		int got = best && id->uid != uid ? -1
		                                 : rights_open(id, dir, true, W_OK | X_OK, &st);

		if (got < 0)
			continue;
		if (*fd >= 0)
			close(*fd);
		*fd = got;
		best = id;
	}
	if (best || w->rights.owned || rights_guarded(&w->rights, dir) < 0)
		return best;
	*fd = rights_open(&root, dir, true, 0, &st);
	return *fd < 0 ? NULL : &root;
}

/* A descriptor for writing would keep a program from being run. Return: O_PATH; -errno */
static int finish(const struct img_ghost *g, int fd)
{
	const struct timespec t[2] = { g->atime, g->mtime };
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", g->uid, g->gid, AT_EMPTY_PATH) < 0 ||
	    fchmodat(AT_FDCWD, path, g->mode & 07777, 0) < 0 ||
	    (g->has_times && utimensat(AT_FDCWD, path, t, 0) < 0))
		return -errno;
	int again = open(path, O_PATH | O_CLOEXEC);

	return again < 0 ? -errno : again;
}

/* Return: a descriptor, the caller's; -errno with @e */
static int make(const struct wrk *w, const struct img_reg *g, const struct img_ghost *ghost,
                struct err *e)
{
	const char *slash = strrchr(g->name, '/');
	char dir[PATH_MAX];
	AUTO(fd) int at = -1;
	mode_t kind = ghost->mode & S_IFMT;

	snprintf(dir, sizeof(dir), "%.*s", slash == g->name ? 1 : (int)(slash - g->name), g->name);
	const struct rights_id *id = find_maker(w, dir, ghost->uid, &at);

	if (!id)
		return refuse(g->name, EACCES,
		              "no process of the tree may make it, which has lost its name, there",
		              e);
	if (!S_ISREG(kind) && !S_ISDIR(kind) && !S_ISFIFO(kind))
		return refuse(g->name, ENOTSUP,
		              "a file of this kind, which has lost its name, cannot be made", e);
	AUTO(fd) int fd = rights_make(id, at, slash + 1, kind);

	if (fd < 0)
		return refuse(g->name, -fd, strerror(-fd), e);
	if (S_ISREG(kind) && img_ghost_copy(ghost, fd, e) < 0)
		return err_code(e);
	int path = finish(ghost, fd);

	return path < 0 ? refuse(g->name, -path, strerror(-path), e) : path;
}

static int make_ghost(const struct wrk *w, const struct img_reg *g, struct err *e)
{
	struct img_ghost ghost;
	int r = img_ghost_open(w->images_fd, g->ghost, &ghost, e);

	if (r < 0)
		return r;
	r = make(w, g, &ghost, e);
	close(ghost.fd);
	return r;
}

static int keep_made(struct pins *p, uint32_t ghost, int fd)
{
	if (keep_fd(p, fd) < 0 ||
	    array_grow(&p->made, p->n_made, &p->cap_made, sizeof(*p->made)) < 0)
		return -ENOMEM;
	p->made[p->n_made++] = (struct made){ ghost, fd };
	return 0;
}

/* Several open files may be of one. */
static int pin_ghost(struct wrk *w, const struct img_reg *g, struct err *e)
{
	struct pins *p = w->gate.pins;
	int fd = -1, r = 0;

	for (size_t i = 0; fd < 0 && i < p->n_made; i++)
		if (p->made[i].ghost == g->ghost)
			fd = p->made[i].fd;
	if (fd < 0) {
		fd = make_ghost(w, g, e);
		if (fd < 0)
			return fd;
		r = keep_made(p, g->ghost, fd);
	}
	r = r < 0 ? r : add(p, g, fd, NULL, true);
	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for files") : 0;
}

int pins_keep(struct wrk *w, int fd)
{
	return keep_fd(w->gate.pins, fd);
}

/* ---- all of them ---- */

static int look(struct wrk *w, const struct img_reg *g, struct err *e)
{
	bool ghost = g->nameless && g->ghost;

	if (g->name[0] != '/' || before_is_kernels(g->name) || (g->nameless && !ghost))
		return 0;
	int r = needs_pin(w->gate.pins, g->name, ghost);

	if (r < 0)
		return refuse(g->name, -r, strerror(-r), e);
	if (!r)
		return 0;
	return ghost ? pin_ghost(w, g, e) : pin_file(w, g, e);
}

int pins_make(struct wrk *w, struct err *e)
{
	int r = 0;

	if (!here_is(w))
		return 0;
	w->gate.pins = calloc(1, sizeof(*w->gate.pins));
	if (!w->gate.pins)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	w->gate.pins->dir_fd = -1;
	for (size_t i = 0; r == 0 && i < w->regs.n; i++)
		r = look(w, &w->regs.v[i], e);
	return r < 0 ? r : img_pin_files(w->images_fd, w->gate.pins->v, w->gate.pins->n_v, e);
}
