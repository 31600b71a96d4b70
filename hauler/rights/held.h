/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * held.h - files that processes of the tree hold: by a descriptor, a mapping, as program or directory.
 *
 * A path is only a name: between two looks its owner can make it lead to another user's file. So
 * content is read through what the process holds, and never by path.
 */
#ifndef HAUL_HELD_H
#define HAUL_HELD_H

#include <sys/stat.h>
#include <sys/types.h>

struct held_file {
	dev_t dev;
	ino_t ino;
	char link[64]; /* where it was found: "/proc/7/fd/3"; empty: no process holds it */
};

/**
 * held_path() - find the file again: at @h->link, else at any process of the tree
 * @root: root process of the tree
 * Return: an O_PATH descriptor of that very file; -ESTALE no process holds it any more; -errno
 */
int held_path(pid_t root, const struct held_file *h);
/** held_read() - the same, and open it for reading. Return: as held_path() and reopen_read() */
int held_read(pid_t root, const struct held_file *h);

#endif
