// SPDX-License-Identifier: GPL-2.0-or-later
/* users.c - find a process of this host that uses a file. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/check/files.h"
#include "common/auto.h"

static void match(struct file_id *v, size_t n, const struct stat *st, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].ino == st->st_ino && v[i].dev == st->st_dev && !v[i].by)
			v[i].by = pid;
}

/* Every link in such a directory of /proc/PID leads to a file in use. */
static void look(struct file_id *v, size_t n, pid_t pid, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	AUTO(dir) DIR *d = opendir(path);
	struct stat st;

	for (struct dirent *de; d && (de = readdir(d));)
		if (de->d_name[0] != '.' && fstatat(dirfd(d), de->d_name, &st, 0) == 0)
			match(v, n, &st, pid);
}

void users_of(struct file_id *v, size_t n)
{
	AUTO(dir) DIR *d = opendir("/proc");

	for (struct dirent *de; d && (de = readdir(d));) {
		pid_t pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid <= 0)
			continue;
		look(v, n, pid, "map_files");
		look(v, n, pid, "fd");
	}
}
