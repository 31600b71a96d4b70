// SPDX-License-Identifier: GPL-2.0-or-later
/* held.c - open a file through the process that holds it. */
#include "hauler/rights/held.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/auto.h"
#include "common/host/reopen.h"
#include "engine/proc/proc.h"

static bool is_it(const struct stat *st, const struct held_file *h)
{
	return st->st_dev == h->dev && st->st_ino == h->ino;
}

/* Compare after opening: the descriptor stays the same file. */
static int open_link(const char *link, const struct held_file *h)
{
	AUTO(fd) int fd = open(link, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return is_it(&st, h) ? steal_fd(&fd) : -ESTALE;
}

static int search_folder(pid_t pid, const char *folder, const struct held_file *h)
{
	char path[320];
	struct stat st;
	int fd = -ESTALE;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, folder);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; fd < 0 && d && (de = readdir(d));) {
		if (de->d_name[0] == '.' || fstatat(dirfd(d), de->d_name, &st, 0) < 0 ||
		    !is_it(&st, h))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/%s/%s", pid, folder, de->d_name);
		fd = open_link(path, h);
	}
	return fd;
}

static int search_task(pid_t pid, const struct held_file *h)
{
	static const char *const links[] = { "exe", "cwd", "root" };
	int fd = search_folder(pid, "fd", h);

	if (fd < 0)
		fd = search_folder(pid, "map_files", h);
	for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(links); i++) {
		char path[40];

		snprintf(path, sizeof(path), "/proc/%d/%s", pid, links[i]);
		fd = open_link(path, h);
	}
	return fd;
}

int held_path(pid_t root, const struct held_file *h)
{
	struct proc_list l = { 0 };
	struct err ignore = ERR_INIT;
	int fd = h->link[0] ? open_link(h->link, h) : -ESTALE;

	if (fd >= 0 || !h->link[0] || procs_tree(root, &l, &ignore) < 0)
		return fd >= 0 ? fd : -ESTALE;
	for (size_t i = 0; fd < 0 && i < l.n; i++)
		fd = search_task(l.pid[i], h);
	procs_fini(&l);
	return fd >= 0 ? fd : -ESTALE;
}

int held_read(pid_t root, const struct held_file *h)
{
	AUTO(fd) int at = held_path(root, h);

	if (at < 0)
		return at;
	return reopen_leased(h->ino) ? -EBUSY : reopen_read(at, 0);
}
