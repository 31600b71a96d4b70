// SPDX-License-Identifier: GPL-2.0-or-later
/* here.c - does CRIU see this host's files as the worker does? */
#include "agent/gate/here.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/mig/mig.h"
#include "common/auto.h"

#define MOUNTS "mountpoints-" /* an image of a mount namespace */

static bool is_same(pid_t pid, const char *what)
{
	char ours[48], theirs[48];
	struct stat a, b;

	snprintf(ours, sizeof(ours), "/proc/self/%s", what);
	snprintf(theirs, sizeof(theirs), "/proc/%d/%s", (int)pid, what);
	return stat(ours, &a) == 0 && stat(theirs, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

bool here_has_mounts(int images_fd)
{
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);

	for (struct dirent *de; d && (de = readdir(d));)
		if (!strncmp(de->d_name, MOUNTS, sizeof(MOUNTS) - 1))
			return true;
	return false;
}

bool here_is(const struct wrk *w)
{
	pid_t criu = criu_pid(w->criu);

	return !w->into_root && !here_has_mounts(w->images_fd) && is_same(criu, "ns/pid") &&
	       is_same(criu, "ns/mnt") && is_same(criu, "root");
}
