// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * apply.c - apply the source's operations to a staged directory. Its hidden parent has mode 0700, so
 * only the source can create links in it, and those are not followed either.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/dirs/priv.h"
#include "agent/files/beneath.h"

#define XATTR_LIST_BYTES 65536

/* ---- removing ---- */

/* By descriptors: a link that is swapped in meanwhile changes nothing. */
static int remove_dir(int dir, const char *name)
{
	int fd = beneath_open(dir, name, O_RDONLY | O_DIRECTORY, 0, false);
	AUTO(dir) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = dirs_in_remove(fd, de->d_name);
	if (r)
		return r;
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

int dirs_in_remove(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR || errno == EPERM ? remove_dir(dir, name) : -errno;
}

/* ---- finding the place ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(steal_fd(fd));
}

void dirs_in_at_close(struct dirs_in_at *a)
{
	close_fd(&a->dir_fd);
	close_fd(&a->file_fd);
}

struct place {
	int dir; /* its directory; not owned */
	char name[NAME_MAX + 1];
	char path[BATCH_PATH_MAX_BYTES + 1]; /* whole, in the root */
};

static int said(const struct place *p, const char *what, struct err *e)
{
	int code = errno;

	err_sys(e, "%s %s", what, p->path);
	if (code == ENOSPC || code == EDQUOT)
		err_fix(e, "make room on the destination's file system; the process keeps "
		           "running at the source");
	return -code;
}

/* Open the directory of @path; it stays open for the next operation. */
static int find(struct dirs_in *s, uint32_t root, const ProtobufCBinaryData *path, struct place *p,
                struct err *e)
{
	char dir[BATCH_PATH_MAX_BYTES + 1];
	struct dirs_in_at *a = &s->at;

	if (root >= s->n)
		return err_set(e, ERR_PEER, EBADMSG, "files of directory %u of %zu", root, s->n);
	if (path->len)
		memcpy(p->path, path->data, path->len);
	p->path[path->len] = 0;
	const char *slash = strrchr(p->path, '/');
	size_t n = slash ? (size_t)(slash - p->path) : 0;

	if (!path->len) {
		p->dir = s->root[root].box_fd;
		snprintf(p->name, sizeof(p->name), "%s", DIRS_IN_NEW);
		return 0;
	}
	snprintf(p->name, sizeof(p->name), "%.*s", NAME_MAX, slash ? slash + 1 : p->path);
	memcpy(dir, p->path, n);
	dir[n] = 0;
	if (a->stale)
		close_fd(&a->dir_fd);
	a->stale = false;
	if (a->dir_fd < 0 || a->root != root || strcmp(a->dir, dir)) {
		close_fd(&a->dir_fd);
		a->dir_fd = beneath_open(s->root[root].top_fd, dir, O_PATH | O_DIRECTORY, 0, false);
		if (a->dir_fd < 0)
			return said(p, "the directory of", e);
		a->root = root;
		memcpy(a->dir, dir, n + 1);
	}
	p->dir = a->dir_fd;
	return 0;
}

static int open_file(struct dirs_in *s, uint32_t root, const struct place *p, struct err *e)
{
	struct dirs_in_at *a = &s->at;
	struct stat st;

	if (a->file_fd >= 0 && a->file_root == root && !strcmp(a->file, p->path))
		return a->file_fd;
	close_fd(&a->file_fd);
	a->file_fd = beneath_open(p->dir, p->name, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0, false);
	if (a->file_fd < 0)
		return said(p, "open", e);
	if (fstat(a->file_fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close_fd(&a->file_fd);
		return err_set(e, ERR_PEER, EBADMSG, "content for %s, which is not a file",
		               p->path);
	}
	a->file_root = root;
	snprintf(a->file, sizeof(a->file), "%s", p->path);
	return a->file_fd;
}

/* ---- metadata ---- */

static bool wanted(const Haul__TreeMeta *m, const char *name)
{
	for (size_t i = 0; i < m->n_xattr; i++)
		if (m->xattr[i]->name.len == strlen(name) &&
		    !memcmp(m->xattr[i]->name.data, name, m->xattr[i]->name.len))
			return true;
	return false;
}

/* Labels of a security module belong to the host. */
static bool is_label(const char *name)
{
	return !strncmp(name, "security.", 9) && strcmp(name, "security.capability") != 0;
}

/* Remove attributes inherited from the directory or left by an earlier pass. */
static int drop_xattrs(const char *path, const Haul__TreeMeta *m)
{
	char few[1024];
	ssize_t n = llistxattr(path, few, sizeof(few));
	AUTO(mem) char *many = NULL;
	char *names = few;

	if (n < 0 && errno == ERANGE) {
		many = names = malloc(XATTR_LIST_BYTES);
		n = many ? llistxattr(path, many, XATTR_LIST_BYTES) : -1;
	}
	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		if (!is_label(names + at) && !wanted(m, names + at) &&
		    lremovexattr(path, names + at) < 0 && errno != ENODATA)
			return -errno;
	return 0;
}

static int set_xattrs(const struct place *p, const Haul__TreeMeta *m, struct err *e)
{
	char path[64 + NAME_MAX], name[256];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", p->dir, p->name);
	if (drop_xattrs(path, m) < 0)
		return said(p, "extended attributes of", e);
	for (size_t i = 0; i < m->n_xattr; i++) {
		const Haul__TreeXattr *x = m->xattr[i];

		memcpy(name, x->name.data, x->name.len);
		name[x->name.len] = 0;
		if (is_label(name))
			continue;
		if (lsetxattr(path, name, x->value.data, x->value.len, 0) < 0) {
			said(p, "extended attribute of", e);
			return err_fix(e,
			               "does this file system have extended attributes and ACLs?");
		}
	}
	return 0;
}

static int set_meta(const struct place *p, const Haul__TreeMeta *m, struct err *e)
{
	const struct timespec times[2] = { { m->atime_s, m->atime_ns },
		                           { m->mtime_s, m->mtime_ns } };
	bool link = S_ISLNK(m->mode);

	/* owner first: a change of owner clears the set-id bits and capabilities */
	if (fchownat(p->dir, p->name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return said(p, "owner of", e);
	if (!link && fchmodat(p->dir, p->name, m->mode & 07777, 0) < 0)
		return said(p, "mode of", e);
	int r = set_xattrs(p, m, e);

	if (r)
		return r;
	if (utimensat(p->dir, p->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = said(p, "times of", e);
	return r;
}

/* ---- operations ---- */

static int write_all(int fd, const uint8_t *data, size_t n, uint64_t at)
{
	while (n) {
		ssize_t k = pwrite(fd, data, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return -1;
		data += k;
		n -= (size_t)k;
		at += (uint64_t)k;
	}
	return 0;
}

/* The same by descriptor: most files are small and created once. */
static int set_meta_of(int fd, const struct place *p, const Haul__TreeMeta *m, struct err *e)
{
	const struct timespec times[2] = { { m->atime_s, m->atime_ns },
		                           { m->mtime_s, m->mtime_ns } };

	if (fchown(fd, m->uid, m->gid) < 0)
		return said(p, "owner of", e);
	if (fchmod(fd, m->mode & 07777) < 0)
		return said(p, "mode of", e);
	int r = m->n_xattr || flistxattr(fd, NULL, 0) > 0 ? set_xattrs(p, m, e) : 0;

	if (r)
		return r;
	if (futimens(fd, times) < 0)
		r = said(p, "times of", e);
	return r;
}

/* Return: 0; -EEXIST: the name is taken */
static int make_file(const Haul__TreeOp *op, const struct place *p, struct err *e)
{
	AUTO(fd)
	int fd = openat(p->dir, p->name,
	                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0)
		return said(p, "create", e);
	if (write_all(fd, op->data.data, op->data.len, 0) < 0 ||
	    (op->meta->size != op->data.len && ftruncate(fd, (off_t)op->meta->size) < 0))
		return said(p, "write", e);
	return set_meta_of(fd, p, op->meta, e);
}

static int make_node(const Haul__TreeOp *op, const struct place *p, struct err *e)
{
	const Haul__TreeMeta *m = op->meta;
	char to[PATH_MAX];
	int r;

	if (S_ISLNK(m->mode)) {
		memcpy(to, op->to.data, op->to.len);
		to[op->to.len] = 0;
		r = symlinkat(to, p->dir, p->name);
	} else {
		r = mknodat(p->dir, p->name, (m->mode & S_IFMT) | 0600,
		            S_ISCHR(m->mode) || S_ISBLK(m->mode) ? makedev(m->major, m->minor) : 0);
	}
	return r < 0 ? said(p, "create", e) : 0;
}

/* Remove what has the name, but not a directory for a directory. Return: 1: it is one already */
static int clear(struct dirs_in *s, const struct place *p, bool for_dir, struct err *e)
{
	struct stat st;

	if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : said(p, "look at", e);
	if (for_dir && S_ISDIR(st.st_mode))
		return 1;
	close_fd(&s->at.file_fd);
	s->at.stale |= S_ISDIR(st.st_mode);
	errno = -dirs_in_remove(p->dir, p->name);
	return errno ? said(p, "remove", e) : 0;
}

static int make(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	struct place p;
	bool dir = S_ISDIR(op->meta->mode);
	int r = find(s, op->root, &op->path, &p, e);

	if (r < 0)
		return r;
	if (S_ISREG(op->meta->mode)) {
		r = make_file(op, &p, e);
		if (r != -EEXIST)
			return r;
		err_clear(e);
		r = clear(s, &p, false, e);
		return r < 0 ? r : make_file(op, &p, e);
	}
	if (r < 0)
		return r;
	r = clear(s, &p, dir, e);
	if (r < 0)
		return r;
	if (dir)
		r = r == 1 || mkdirat(p.dir, p.name, 0700) == 0 ? 0 : said(&p, "create", e);
	else
		r = make_node(op, &p, e);
	return r == 0 ? set_meta(&p, op->meta, e) : r;
}

static int put_meta(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	struct place p;
	struct stat st;
	int r = find(s, op->root, &op->path, &p, e);

	if (r < 0)
		return r;
	if (fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return said(&p, "look at", e);
	if ((st.st_mode & S_IFMT) != (op->meta->mode & S_IFMT))
		return err_set(e, ERR_PEER, EBADMSG, "%s is of another type", p.path);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != op->meta->size) {
		int fd = open_file(s, op->root, &p, e);

		if (fd < 0)
			return fd;
		if (ftruncate(fd, (off_t)op->meta->size) < 0)
			return said(&p, "size of", e);
	}
	return set_meta(&p, op->meta, e);
}

static int put_write(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	struct place p;
	int r = find(s, op->root, &op->path, &p, e);
	int fd = r == 0 ? open_file(s, op->root, &p, e) : r;

	if (fd < 0)
		return fd;
	return write_all(fd, op->data.data, op->data.len, op->offset) < 0 ? said(&p, "write", e)
	                                                                  : 0;
}

static int put_hole(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	static const uint8_t zero[65536];
	struct place p;
	struct stat st;
	int r = find(s, op->root, &op->path, &p, e);
	int fd = r == 0 ? open_file(s, op->root, &p, e) : r;

	if (fd < 0)
		return fd;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->offset,
	              (off_t)op->bytes) == 0)
		return 0;
	if (errno != EOPNOTSUPP || fstat(fd, &st) < 0)
		return said(&p, "hole in", e);
	/* no holes on this file system: zeros, up to the end that it has */
	uint64_t end = op->offset + op->bytes;

	end = end < (uint64_t)st.st_size ? end : (uint64_t)st.st_size;
	for (uint64_t at = op->offset; at < end; at += sizeof(zero)) {
		size_t n = end - at < sizeof(zero) ? (size_t)(end - at) : sizeof(zero);

		if (write_all(fd, zero, n, at) < 0)
			return said(&p, "write", e);
	}
	return 0;
}

static int put_link(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	struct place from, to;
	struct stat st;
	int r = find(s, op->root, &op->to, &from, e);

	if (r < 0)
		return r;
	AUTO(fd) int dir = fcntl(from.dir, F_DUPFD_CLOEXEC, 0); /* find() may close it */

	if (dir < 0 || fstatat(dir, from.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return said(&from, "link to", e);
	if (S_ISDIR(st.st_mode))
		return err_set(e, ERR_PEER, EBADMSG, "one more name for directory %s", from.path);
	r = find(s, op->root, &op->path, &to, e);
	if (r)
		return r;
	r = clear(s, &to, false, e);
	if (r)
		return r;
	if (linkat(dir, from.name, to.dir, to.name, 0) < 0)
		r = said(&to, "link", e);
	return r;
}

static int put_remove(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	struct place p;
	struct err missing = ERR_INIT;

	/* its directory may have gone before it, or be something else */
	if (find(s, op->root, &op->path, &p, &missing) < 0) {
		if (missing.src == ERR_SYS &&
		    (missing.code == ENOENT || missing.code == ENOTDIR || missing.code == ELOOP))
			return 0;
		*e = missing;
		return -e->code;
	}
	close_fd(&s->at.file_fd);
	s->at.stale = true;
	errno = -dirs_in_remove(p.dir, p.name);
	return errno ? said(&p, "remove", e) : 0;
}

int dirs_in_apply(struct dirs_in *s, const Haul__TreeOp *op, struct err *e)
{
	s->ops++;
	switch (op->kind) {
	case HAUL__TREE_KIND__TREE_MAKE:
		return make(s, op, e);
	case HAUL__TREE_KIND__TREE_WRITE:
		return put_write(s, op, e);
	case HAUL__TREE_KIND__TREE_PUNCH:
		return put_hole(s, op, e);
	case HAUL__TREE_KIND__TREE_META:
		return put_meta(s, op, e);
	case HAUL__TREE_KIND__TREE_LINK:
		return put_link(s, op, e);
	case HAUL__TREE_KIND__TREE_REMOVE:
		return put_remove(s, op, e);
	default:
		return err_set(e, ERR_PEER, EPROTO, "operation %d on files", (int)op->kind);
	}
}
