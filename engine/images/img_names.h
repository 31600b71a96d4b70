/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img_names.h - UNIX sockets of a tree that CRIU shall leave without a path, so that others bind them. */
#ifndef HAUL_ENGINE_IMG_NAMES_H
#define HAUL_ENGINE_IMG_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct img_name {
	uint32_t id, ino, peer; /* CRIU's numbers */
	pid_t pid;
	int fd; /* of @pid */
	uint8_t name[108]; /* as it was given to bind(2) */
	size_t bytes;
	char *dir; /* where it was bound, if the name is relative; NULL */
	uint32_t uid, gid, mode; /* of the socket file; uid UINT32_MAX: not known */
	uint32_t backlog;
	bool listens;
	bool deleted; /* the file was removed */
	bool outside; /* another program has it: datagram sockets of the tree are connected to it */
};

/*
 * A socket that is connected to one of them, which does not know it: datagrams, or not yet accepted. Of one that is
 * connected to a program outside: for each process that has it.
 */
struct img_link {
	uint32_t id;
	pid_t pid;
	int fd;
	size_t to; /* index of the name */
	uint32_t shutdown; /* 0 none, 1 reading, 2 writing, 3 both */
};

struct img_names {
	struct img_name *v;
	size_t n, cap;
	struct img_link *link;
	size_t n_links, cap_links;
};

/**
 * img_take_names() - files.img: no UNIX socket of the tree has a path, or is connected by one
 * CRIU restores them unbound, unconnected and not listening. Names outside are on the list, for the connections.
 * @out: zeroed; for img_names_fini(), also on failure. Return: 0; -ENOTSUP one has no descriptor; -errno
 */
int img_take_names(int dirfd, struct img_names *out, struct err *e);
void img_names_fini(struct img_names *l);

#endif
