/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img_watches.h - what the inotify and fanotify descriptors of a tree watch. CRIU opens it by its path, as root. */
#ifndef HAUL_ENGINE_IMG_WATCHES_H
#define HAUL_ENGINE_IMG_WATCHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct img_watched {
	uint32_t type, id; /* of the descriptor's file: CRIU's numbers */
	char *path; /* absolute; NULL: CRIU knows a number of the file only */
	bool fanotify;
	uint32_t mask; /* of inotify, as the kernel has it */
};
/* A process that has the descriptor. */
struct img_watcher {
	uint32_t type, id;
	pid_t pid;
	int fd;
};
struct img_watches {
	struct img_watched *v;
	size_t n, cap;
	struct img_watcher *who;
	size_t n_who, cap_who;
};
/** img_watches() - from files.img. @out: zeroed; for img_watches_fini(), also on failure. Return: 0; -errno */
int img_watches(int dirfd, struct img_watches *out, struct err *e);
/** img_watch_by() - files.img: CRIU opens the watches, in their order, by these paths. Return: 0; -errno */
int img_watch_by(int dirfd, char *const *path, size_t n, struct err *e);
void img_watches_fini(struct img_watches *l);

#endif
