/* SPDX-License-Identifier: GPL-2.0-or-later */
/* room.h - a cgroup of its own for a tree, so that what ends another cgroup does not end it. */
#ifndef HAUL_ROOM_H
#define HAUL_ROOM_H

#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

#define ROOM_DIR_BYTES 512

/**
 * room_new() - make one for process @pid and move it there: a transient scope where systemd runs, else
 * a cgroup (version 2) at the top
 * @name: of letters, digits and '-'
 * @dir: out: its directory, for frost_enter()
 * Return: 0; -errno: the process is where it was
 */
int room_new(const char *name, pid_t pid, char dir[ROOM_DIR_BYTES], struct err *e);
/** room_end() - remove it if it is empty; a scope ends by itself */
void room_end(const char *dir);
/** room_sweep() - remove empty ones whose name begins with @prefix and that are older than a minute */
void room_sweep(const char *prefix);

#endif
