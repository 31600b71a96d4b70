/* SPDX-License-Identifier: GPL-2.0-or-later */
/* held.h - from images: the identity of each task, sockets that will be bound, files that will be opened. */
#ifndef HAUL_ENGINE_HELD_H
#define HAUL_ENGINE_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* What a thread may act as. */
struct img_creds {
	uint32_t uid, gid; /* of file accesses */
	uint32_t uids[4], gids[4]; /* real, effective, saved, of file accesses */
	uint32_t *groups;
	size_t n_groups;
	uint64_t caps; /* effective */
	uint64_t caps_any; /* effective, permitted or inheritable */
};
/** img_creds() - from core-TID.img of a thread. Return: 0; -ENODATA a task that has ended; -errno */
int img_creds(int dirfd, pid_t tid, struct img_creds *out, struct err *e);
void img_creds_fini(struct img_creds *c);

/* A UNIX socket that CRIU will bind to a path, or connect to there. */
struct img_socket {
	char path[128]; /* absolute */
	uint32_t uid, gid, mode; /* of the socket file at the source */
	bool outside; /* a program outside the tree has it: datagram sockets of the tree are connected to it */
};
/** img_sockets() - from files.img, with those outside. @out: an array of @n, the caller's. Return: 0; -errno */
int img_sockets(int dirfd, struct img_socket **out, size_t *n, struct err *e);

#define IMG_SIZE_ANY UINT64_MAX
/* Files that CRIU opens by their names: of descriptors, mappings, programs and directories. */
struct img_regs {
	struct img_reg {
		char *name; /* absolute */
		uint32_t id;
		uint32_t flags; /* of open(2); of a mapping or directory CRIU's own */
		uint32_t mode; /* 0: not known */
		uint64_t size; /* IMG_SIZE_ANY: CRIU does not compare it */
		bool nameless; /* the file has lost its name, and is in the images itself, */
		uint32_t ghost; /* under this number; 0: in another way */
	} * v; /* ascending by id, which a file has alone */
	size_t n, cap;
};
/** img_regs() - from files.img and remap-fpath.img. @out: for img_regs_fini(), also on failure */
int img_regs(int dirfd, struct img_regs *out, struct err *e);
void img_regs_fini(struct img_regs *l);

#endif
