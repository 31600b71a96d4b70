/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dirs.h - the directories that the user names to move with the process (--fs, --fs-exclude). */
#ifndef HAULER_OPTIONS_DIRS_H
#define HAULER_OPTIONS_DIRS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

#define DIRS_MAX 64

struct dirs_opts {
	const char **dir, **exclude;
	size_t n_dirs, n_excludes;
	bool replace, from_policy;
};

/**
 * dirs_opts_add() - one --fs=@dir; its real path is kept
 * Return: 0; -EINVAL the root directory, or one inside another; -E2BIG more than DIRS_MAX; -errno
 */
int dirs_opts_add(struct dirs_opts *o, const char *dir, struct err *e);
/** dirs_opts_exclude() - one --fs-exclude=@pattern, which is borrowed. Return: 0; -ENOMEM */
int dirs_opts_exclude(struct dirs_opts *o, const char *pattern, struct err *e);
/** dirs_opts_cover() - is the absolute @path one of the directories, or inside one? @o may be NULL */
bool dirs_opts_cover(const struct dirs_opts *o, const char *path);

#endif
