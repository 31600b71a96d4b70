// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * img_root.c - give a dumped tree another root directory: CRIU opens every file by its path
 * from CRIU's own root, and then makes the tree's root directory its root.
 */
#include "engine/images/img_priv.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "engine/images/images.pb-c.h"

#define FILES      "files.img"
#define PATH_BYTES 4096

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

struct reroot {
	const char *from, *to;
};

static int map_one(void *arg, Cimg__File *f, struct err *e)
{
	const struct reroot *r = arg;

	int x = map_entry(f, r->from, r->to, e);

	return x < 0 ? x : 1;
}

int img_reroot(int dirfd, const char *from, const char *to, struct err *e)
{
	struct reroot r = { from, to };

	return img_edit_files(dirfd, map_one, &r, e);
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
