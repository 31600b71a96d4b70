// SPDX-License-Identifier: GPL-2.0-or-later
/* dirs.c - the directories that the user names to move with the process. */
#include "hauler/options/dirs.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int add_word(const char ***v, size_t *n, const char *word)
{
	const char **more = realloc(*v, (*n + 1) * sizeof(char *));

	if (!more)
		return -ENOMEM;
	*v = more;
	more[(*n)++] = word;
	return 0;
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

int dirs_opts_add(struct dirs_opts *o, const char *dir, struct err *e)
{
	char real[PATH_MAX];

	if (!realpath(dir, real))
		return err_sys(e, "--fs=%s", dir);
	if (!real[1])
		return err_set(e, ERR_USER, EINVAL, "--fs=%s: the root directory cannot be moved",
		               dir);
	if (o->n_dirs == DIRS_MAX)
		return err_set(e, ERR_USER, E2BIG, "--fs: more than %d directories", DIRS_MAX);
	for (size_t i = 0; i < o->n_dirs; i++)
		if (is_below(real, o->dir[i]) || is_below(o->dir[i], real))
			return err_set(e, ERR_USER, EINVAL,
			               "--fs=%s and --fs=%s: one is inside the other", dir,
			               o->dir[i]);
	char *copy = strdup(real);

	return copy && add_word(&o->dir, &o->n_dirs, copy) == 0
	               ? 0
	               : err_set(e, ERR_SYS, ENOMEM, "no memory");
}

int dirs_opts_exclude(struct dirs_opts *o, const char *pattern, struct err *e)
{
	return add_word(&o->exclude, &o->n_excludes, pattern) < 0
	               ? err_set(e, ERR_SYS, ENOMEM, "no memory")
	               : 0;
}

bool dirs_opts_cover(const struct dirs_opts *o, const char *path)
{
	for (size_t i = 0; o && i < o->n_dirs; i++)
		if (is_below(path, o->dir[i]))
			return true;
	return false;
}
