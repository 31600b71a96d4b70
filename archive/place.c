// SPDX-License-Identifier: GPL-2.0-or-later
/* place.c - the file of an archive: opened, locked, without a name until it is whole. */
#include "archive/priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define TEMP_MARK ".haul-"

static int lock(int fd, const char *path, struct err *e)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(e, "lock %s", path);
	err_set(e, ERR_USER, EBUSY, "%s is in use by another haul", path);
	return err_fix(e, "wait until that save or load has ended");
}

/* Return: the folder of @path, the caller's; NULL: no memory */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash          ? strdup(".")
	       : slash == path ? strdup("/")
	                       : strndup(path, (size_t)(slash - path));
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Files that a haul without O_TMPFILE left behind when it was killed: nobody has them locked. */
static void sweep(const char *folder, const char *name)
{
	AUTO(dir) DIR *d = opendir(folder);
	size_t n = strlen(name);

	for (const struct dirent *de; d && (de = readdir(d));) {
		if (de->d_name[0] != '.' || strncmp(de->d_name + 1, name, n) ||
		    strncmp(de->d_name + 1 + n, TEMP_MARK, sizeof(TEMP_MARK) - 1))
			continue;
		AUTO(fd) int fd = openat(dirfd(d), de->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			unlinkat(dirfd(d), de->d_name, 0);
	}
}

static int make_named(struct place *p, const char *folder, struct err *e)
{
	const char *name = name_of(p->path);

	if (asprintf(&p->temp, "%s/.%s" TEMP_MARK "%d", folder, name, getpid()) < 0) {
		p->temp = NULL;
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a name");
	}
	sweep(folder, name);
	p->fd = openat(p->dir_fd, name_of(p->temp), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return p->fd < 0 ? err_sys(e, "%s", p->temp) : 0;
}

static int make(struct place *p, struct err *e)
{
	AUTO(mem) char *folder = folder_of(p->path);
	struct stat st;

	if (!folder)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a name");
	if (lstat(p->path, &st) == 0)
		return err_set(e, ERR_USER, ENOENT, "%s is a symbolic link to what does not exist",
		               p->path);
	p->nameless = true;
	p->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		return err_sys(e, "%s", folder);
	p->fd = openat(p->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (p->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		return make_named(p, folder, e);
	return p->fd < 0 ? err_sys(e, "%s", p->path) : 0;
}

static int only_files(const struct place *p, struct err *e)
{
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return err_sys(e, "%s", p->path);
	return S_ISREG(st.st_mode) ? 0 : err_set(e, ERR_USER, EINVAL, "%s is not a file", p->path);
}

int place_open(struct place *p, const char *path, enum archive_how how, struct err *e)
{
	int flags = how == ARCHIVE_READ ? O_RDONLY : O_RDWR;

	*p = (struct place){ .fd = -1, .dir_fd = -1, .path = strdup(path) };
	if (!p->path)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a name");
	if (web_is(path) && how != ARCHIVE_READ)
		return err_set(e, ERR_USER, EROFS, "%s: nothing can be written by HTTP", path);
	if (web_is(path))
		return web_open(&p->web, path, e);
	p->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = p->fd >= 0                               ? only_files(p, e)
	        : errno == ENOENT && how == ARCHIVE_MAKE ? make(p, e)
	                                                 : err_sys(e, "%s", path);

	if (r < 0 || how == ARCHIVE_READ)
		return r;
	r = place_own(p, e);
	return r < 0 ? r : lock(p->fd, path, e);
}

int place_own(const struct place *p, struct err *e)
{
	struct stat st;

	if (p->web)
		return 0;
	if (fstat(p->fd, &st) < 0)
		return err_sys(e, "%s", p->path);
	if (st.st_uid != geteuid()) {
		err_set(e, ERR_USER, EPERM, "%s belongs to user %u, who can read and change it",
		        p->path, st.st_uid);
		return err_fix(e, "take an archive of your own; cp makes one of it, if you trust "
		                  "whoever wrote it");
	}
	if (!(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	err_set(e, ERR_USER, EPERM, "%s can be changed by other users: its mode is %04o", p->path,
	        st.st_mode & 07777);
	return err_fix(e, "if none of them has changed it: chmod go-w %s", p->path);
}

/* A name is durable when its folder is. */
static int sync_folder(const struct place *p, struct err *e)
{
	return fsync(p->dir_fd) < 0 ? err_sys(e, "the folder of %s", p->path) : 0;
}

/* What nobody finds any more is no archive, though it can be written to. */
static int keeps_name(const struct place *p, struct err *e)
{
	struct stat own, named;

	if (fstat(p->fd, &own) < 0)
		return err_sys(e, "%s", p->path);
	if (stat(p->path, &named) == 0 && own.st_dev == named.st_dev && own.st_ino == named.st_ino)
		return 0;
	err_set(e, ERR_USER, ESTALE, "%s was removed, renamed or replaced meanwhile", p->path);
	return err_fix(e, "leave the archive where it is until haul has ended");
}

int place_name(struct place *p, struct err *e)
{
	char link[32];
	int r;

	if (!p->nameless)
		return keeps_name(p, e);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", p->fd);
	r = p->temp ? renameat2(p->dir_fd, name_of(p->temp), p->dir_fd, name_of(p->path),
	                        RENAME_NOREPLACE)
	            : linkat(AT_FDCWD, link, p->dir_fd, name_of(p->path), AT_SYMLINK_FOLLOW);
	if (r < 0)
		return err_sys(e, "%s", p->path);
	p->nameless = false;
	return sync_folder(p, e);
}

int place_remove(struct place *p, struct err *e)
{
	int r = keeps_name(p, e);

	if (r < 0)
		return r;
	if (unlinkat(p->dir_fd, name_of(p->path), 0) < 0)
		return err_sys(e, "remove %s", p->path);
	return sync_folder(p, e);
}

int place_read(const struct place *p, uint64_t at, void *buf, size_t bytes, struct err *e)
{
	size_t got = 0;

	if (p->web)
		return web_read(p->web, at, buf, bytes, e);
	while (got < bytes) {
		ssize_t n = pread(p->fd, (uint8_t *)buf + got, bytes - got, (off_t)(at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read %s", p->path);
		if (n == 0)
			return err_set(e, ERR_USER, ENODATA, "%s is cut off", p->path);
		got += (size_t)n;
	}
	return 0;
}

int place_write(const struct place *p, uint64_t at, const void *buf, size_t bytes, struct err *e)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(p->fd, (const uint8_t *)buf + done, bytes - done,
		                   (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "write %s", p->path);
		done += (size_t)n;
	}
	return 0;
}

uint64_t place_bytes(const struct place *p)
{
	struct stat st;

	if (p->web)
		return web_bytes(p->web);
	return fstat(p->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void place_close(struct place *p)
{
	if (p->temp && p->nameless)
		unlinkat(p->dir_fd, name_of(p->temp), 0);
	auto_fd(&p->fd);
	auto_fd(&p->dir_fd);
	web_close(p->web);
	free(p->temp);
	free(p->path);
	*p = (struct place){ .fd = -1, .dir_fd = -1 };
}
