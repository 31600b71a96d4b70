// SPDX-License-Identifier: GPL-2.0-or-later
/* rundir.c - directories for files that other programs must not be able to replace. */
#include "common/host/rundir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 400

int rundir_parents(const char *path, struct err *e)
{
	char dir[PATH_BYTES];

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return err_set(e, ERR_USER, ENAMETOOLONG, "%s", path);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_sys(e, "make %s", dir);
		*p = '/';
	}
	return 0;
}

int rundir_make(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(e, "make %s", path);
	if (lstat(path, &st) < 0)
		return err_sys(e, "%s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(e, ERR_USER, EPERM,
		               "%s is not a directory that only we can write to", path);
	return 0;
}
