// SPDX-License-Identifier: GPL-2.0-or-later
/* tidy.c - after a move: remove from /dev/shm what only the processes that moved had there. */
#include "hauler/files/needs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/log.h"

#define SHM_DIR    "/dev/shm/"
#define LINE_BYTES 4608

/* The file at k->here, if it is the one that the tree had. */
static bool is_left(const struct need *k, struct stat *st)
{
	return needs_travels(k) && S_ISREG(k->file.mode) && k->held.ino &&
	       !strncmp(k->here, SHM_DIR, sizeof(SHM_DIR) - 1) && lstat(k->here, st) == 0 &&
	       st->st_dev == k->held.dev && st->st_ino == k->held.ino;
}

static bool has_open(const char *pid, const struct stat *of)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (fstatat(dirfd(d), de->d_name, &st, 0) == 0 && st.st_dev == of->st_dev &&
		    st.st_ino == of->st_ino)
			return true;
	return false;
}

static bool has_mapped(const char *pid, const struct stat *of)
{
	char path[64], line[LINE_BYTES];

	snprintf(path, sizeof(path), "/proc/%.16s/maps", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		unsigned int major_, minor_;
		unsigned long long ino;

		if (sscanf(line, "%*s %*s %*s %x:%x %llu", &major_, &minor_, &ino) == 3 &&
		    ino == of->st_ino && makedev(major_, minor_) == of->st_dev)
			return true;
	}
	return false;
}

/* Does a process have it? Those of the tree have ended. */
static bool is_used(const struct stat *st)
{
	AUTO(dir) DIR *d = opendir("/proc");
	bool used = !d;

	for (struct dirent *de; !used && (de = readdir(d));)
		used = isdigit((unsigned char)de->d_name[0]) &&
		       (has_open(de->d_name, st) || has_mapped(de->d_name, st));
	return used;
}

void needs_tidy(struct needs *n)
{
	struct stat st;

	for (size_t i = 0; n && i < n->n; i++) {
		struct need *k = &n->v[i];

		if (!is_left(k, &st))
			continue;
		auto_fd(&k->fd); /* our own */
		k->fd = -1;
		if (is_used(&st))
			log_info("%s stays: another process has it, too", k->here);
		else if (unlink(k->here) < 0)
			log_warn("%s is left behind: %s", k->here, strerror(errno));
	}
}
