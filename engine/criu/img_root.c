// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * img_root.c - give a dumped tree another root directory: CRIU opens every file by its path
 * from CRIU's own root, and then makes the tree's root directory its root.
 */
#include "engine/criu/img_priv.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "engine/criu/images.pb-c.h"

#define FILES       "files.img"
#define MAGIC_FILES 0x56303138u
#define PATH_BYTES  4096

/* Paths below "/" have no prefix. */
static size_t root_bytes(const char *root)
{
	return root[1] ? strlen(root) : 0;
}

int root_map(const char *path, const char *from, const char *to, char *out, size_t bytes)
{
	size_t skip = root_bytes(from), put = root_bytes(to);

	if (strncmp(path, from, skip) || (path[skip] && path[skip] != '/'))
		return -EXDEV;
	const char *rest = path[skip] && path[skip + 1] ? path + skip : "";
	int n = snprintf(out, bytes, "%.*s%s", (int)put, to, rest);

	if (n == 0)
		n = snprintf(out, bytes, "/");
	return (size_t)n < bytes ? 0 : -ENAMETOOLONG;
}

static int map_name(char **name, const char *from, const char *to, struct err *e)
{
	char out[PATH_BYTES];
	int r = root_map(*name, from, to, out, sizeof(out));

	if (r < 0)
		return err_set(e, ERR_TARGET, -r, "%s is not below the root directory %s", *name,
		               from);
	char *copy = strdup(out);

	if (!copy)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", FILES);
	free(*name);
	*name = copy;
	return 0;
}

/* Peers see a socket's name, so it cannot be changed. */
static int map_entry(Cimg__File *f, const char *from, const char *to, struct err *e)
{
	if (f->usk && f->usk->name.len && f->usk->name.data[0] == '/')
		return err_set(e, ERR_TARGET, ENOTSUP, "a UNIX socket is bound to %.*s",
		               (int)f->usk->name.len, (const char *)f->usk->name.data);
	return f->reg ? map_name(&f->reg->name, from, to, e) : 0;
}

static int put(FILE *out, const Cimg__File *f, struct err *e)
{
	size_t n = cimg__file__get_packed_size(f);
	AUTO(mem) uint8_t *buf = malloc(n + 4);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", FILES);
	img_put_le32(buf, (uint32_t)n);
	cimg__file__pack(f, buf + 4);
	return fwrite(buf, 1, n + 4, out) == n + 4 ? 0 : err_sys(e, "write %s", FILES);
}

static int map_all(const uint8_t *img, size_t bytes, FILE *out, const char *from, const char *to,
                   struct err *e)
{
	size_t at = 8, n;
	const uint8_t *msg;
	int r;

	while ((r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		Cimg__File *f = cimg__file__unpack(NULL, n, msg);

		if (!f)
			return err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense", FILES);
		r = map_entry(f, from, to, e);
		if (r == 0)
			r = put(out, f, e);
		cimg__file__free_unpacked(f, NULL);
		if (r < 0)
			return r;
	}
	return r < 0 ? err_set(e, ERR_CRIU, -r, "image %s is cut short", FILES) : 0;
}

int img_reroot(int dirfd, const char *from, const char *to, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	AUTO(mem) char *text = NULL;
	size_t bytes, n = 0;
	int r = img_load_framed(dirfd, FILES, MAGIC_FILES, &img, &bytes, e);

	if (r < 0)
		return r;
	AUTO(file) FILE *out = open_memstream(&text, &n);

	if (!out || fwrite(img, 1, 8, out) != 8)
		return err_sys(e, "write %s", FILES);
	r = map_all(img, bytes, out, from, to, e);
	if (r == 0 && fflush(out) != 0)
		r = err_sys(e, "write %s", FILES);
	return r < 0 ? r : img_save(dirfd, FILES, text, n, e);
}

void root_enter(const char *root, int out)
{
	static const char why[] = "no mount namespace with /proc below the private root directory";
	char proc[PATH_MAX];

	snprintf(proc, sizeof(proc), "%s/proc", root);
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
	    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		return;
	if (write(out, why, sizeof(why) - 1) < 0)
		_exit(125);
	_exit(126);
}
