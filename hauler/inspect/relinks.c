// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * relinks.c - files that have lost the name by which they were opened, and have another one in the same directory:
 * sem_open(3) makes its files so.
 */
#include "hauler/inspect/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"

/* Return: 1 and @out, a name of @st in the directory of @path; 0: it has none there */
static int find_name(const char *path, const struct stat *st, char out[INSPECT_PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	char dir[INSPECT_PATH_MAX];
	struct stat now;

	if (!slash)
		return 0;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + (slash == path), path);
	AUTO(dir) DIR *d = opendir(dir);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (de->d_ino != st->st_ino ||
		    fstatat(dirfd(d), de->d_name, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
		    now.st_ino != st->st_ino || now.st_dev != st->st_dev)
			continue;
		return snprintf(out, INSPECT_PATH_MAX, "%.*s/%s", (int)(slash - path), path,
		                de->d_name) < INSPECT_PATH_MAX;
	}
	return 0;
}

const char *inspect_relinked(const struct inspect *i, const char *path)
{
	for (size_t k = 0; k < i->relinks.n; k++)
		if (!strcmp(i->relinks.v[k].from, path))
			return i->relinks.v[k].to;
	return path;
}

int inspect_relink(struct inspect *i, const char *path, const struct stat *st)
{
	char name[INSPECT_PATH_MAX];

	if (inspect_relinked(i, path) != path)
		return 1;
	if (!S_ISREG(st->st_mode) || !find_name(path, st, name))
		return 0;
	if (array_grow(&i->relinks.v, i->relinks.n, &i->relinks.cap, sizeof(*i->relinks.v)) < 0)
		return -ENOMEM;
	struct img_relink *r = &i->relinks.v[i->relinks.n];

	*r = (struct img_relink){ .from = strdup(path), .to = strdup(name) };
	if (!r->from || !r->to) {
		free(r->from);
		free(r->to);
		return -ENOMEM;
	}
	i->relinks.n++;
	return 1;
}

const struct img_relink *inspect_relinks(const struct inspect *i, size_t *n)
{
	*n = i->relinks.n;
	return i->relinks.v;
}

void inspect_relinks_fini(struct inspect *i)
{
	for (size_t k = 0; k < i->relinks.n; k++) {
		free(i->relinks.v[k].from);
		free(i->relinks.v[k].to);
	}
	free(i->relinks.v);
}
