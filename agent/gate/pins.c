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
#include "agent/gate/holders.h"
#include "common/array.h"
#include "engine/images/held.h"
#include "engine/images/img_pins.h"

/* A file that CRIU opens by another name than its own. */
struct pin {
	uint32_t id;
	size_t kept; /* its number in holders.c, or that of its directory */
	const char *below; /* its name in that directory; NULL: kept is the file itself */
	bool made;
};

struct pins {
	struct wrk *w;
	struct pin *v; /* ascending by id */
	size_t n, cap;
	struct made {
		uint32_t ghost;
		size_t kept;
	} * made;
	size_t n_made, cap_made;
	/* the last directory that was looked at */
	char dir[PATH_MAX];
	int dir_fd; /* -1: none */
	bool dir_loose;
};

static void fini(struct pins *p)
{
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	free(p->v);
	free(p->made);
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

/* Of the kernel's own: files of processes are not there yet. */
static bool is_kernels(const struct wrk *w, const char *path)
{
	size_t root = w->into_root ? strlen(w->into_root) : 0;

	if (!strncmp(path, w->into_root ? w->into_root : "", root))
		path += root;
	return !strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5);
}

/* @making: a file will be made there. Return: 1 CRIU may not use @path by itself; 0; -errno */
static int needs_pin(struct pins *p, const char *path, bool making)
{
	const char *slash = strrchr(path, '/');
	struct stat dir, st = { .st_uid = UINT32_MAX };

	if (strlen(path) >= PATH_MAX || is_kernels(p->w, path))
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

/* @below: a name in the directory @kept; NULL: the file itself */
static int add(struct pins *p, const struct img_reg *g, size_t kept, const char *below, bool made,
               struct err *e)
{
	if (array_grow(&p->v, p->n, &p->cap, sizeof(*p->v)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	p->v[p->n++] = (struct pin){ g->id, kept, below, made };
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
static int pin_below(struct pins *p, const struct img_reg *g, struct err *e)
{
	const char *slash = strrchr(g->name, '/');
	char dir[PATH_MAX];
	struct stat st;
	size_t kept;

	snprintf(dir, sizeof(dir), "%.*s", slash == g->name ? 1 : (int)(slash - g->name), g->name);
	int fd = rights_find(&p->w->rights, dir, true, X_OK, NULL, &st);

	if (fd < 0)
		return say_missing(dir, fd, e);
	int r = holders_keep(p->w, fd, &kept, e);

	return r < 0 ? r : add(p, g, kept, slash + 1, false, e);
}

static int pin_file(struct pins *p, const struct img_reg *g, struct err *e)
{
	struct stat st;
	size_t kept;

	if (g->flags & O_NOFOLLOW)
		return pin_below(p, g, e);
	AUTO(fd) int fd = find(p->w, g->name, rights_need(g->flags), &st);

	if (fd < 0)
		return say_missing(g->name, fd, e);
	int r = judge(p->w, g, &st, e);

	if (r < 0)
		return r;
	r = holders_keep(p->w, steal_fd(&fd), &kept, e);
	return r < 0 ? r : add(p, g, kept, NULL, false, e);
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

/* A descriptor for writing would keep a program from being run. @fds: of this process. Return: O_PATH; -errno */
static int finish(const struct img_ghost *g, int fds, int fd)
{
	const struct timespec t[2] = { g->atime, g->mtime };
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	if (fchownat(fd, "", g->uid, g->gid, AT_EMPTY_PATH) < 0 ||
	    fchmodat(fds, name, g->mode & 07777, 0) < 0 ||
	    (g->has_times && utimensat(fds, name, t, 0) < 0))
		return -errno;
	int again = openat(fds, name, O_PATH | O_CLOEXEC);

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
	int path = finish(ghost, holders_fds(w), fd);

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

static int keep_made(struct pins *p, const struct img_reg *g, size_t *kept, struct err *e)
{
	int fd = make_ghost(p->w, g, e);
	int r = fd < 0 ? fd : holders_keep(p->w, fd, kept, e);

	if (r < 0)
		return r;
	if (array_grow(&p->made, p->n_made, &p->cap_made, sizeof(*p->made)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	p->made[p->n_made++] = (struct made){ g->ghost, *kept };
	return 0;
}

/* Several open files may be of one. */
static int pin_ghost(struct pins *p, const struct img_reg *g, struct err *e)
{
	for (size_t i = 0; i < p->n_made; i++)
		if (p->made[i].ghost == g->ghost)
			return add(p, g, p->made[i].kept, NULL, true, e);
	size_t kept;
	int r = keep_made(p, g, &kept, e);

	return r < 0 ? r : add(p, g, kept, NULL, true, e);
}

/* ---- all of them ---- */

static int look(struct pins *p, const struct img_reg *g, struct err *e)
{
	bool ghost = g->nameless && g->ghost;

	if (g->name[0] != '/' || before_is_kernels(g->name) || (g->nameless && !ghost))
		return 0;
	int r = needs_pin(p, g->name, ghost);

	if (r < 0)
		return refuse(g->name, -r, strerror(-r), e);
	if (!r)
		return 0;
	return ghost ? pin_ghost(p, g, e) : pin_file(p, g, e);
}

static int name_all(const struct pins *p, struct err *e)
{
	int r = holders_done(p->w, e);
	AUTO(mem) struct img_pin *v = r < 0 ? NULL : calloc(p->n + 1, sizeof(*v));

	if (!v)
		return r < 0 ? r : err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	for (size_t i = 0; i < p->n; i++) {
		v[i].id = p->v[i].id;
		v[i].made = p->v[i].made;
		holders_name(p->w, p->v[i].kept, p->v[i].below, v[i].name);
	}
	return img_pin_files(p->w->images_fd, v, p->n, e);
}

int pins_make(struct wrk *w, struct err *e)
{
	struct pins p = { .w = w, .dir_fd = -1 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->regs.n; i++)
		r = look(&p, &w->regs.v[i], e);
	r = r < 0 ? r : name_all(&p, e);
	fini(&p);
	return r;
}
