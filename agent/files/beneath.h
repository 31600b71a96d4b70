/* SPDX-License-Identifier: GPL-2.0-or-later */
/* beneath.h - open paths without following any symbolic link. */
#ifndef HAUL_AGENT_BENEATH_H
#define HAUL_AGENT_BENEATH_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * beneath_open() - open @path, which must lie in the directory @dir
 * @path:     relative; empty: the directory itself
 * @flags:    of open(2); O_CLOEXEC and O_NOFOLLOW are added
 * @mode:     of a new file, with O_CREAT
 * @other_fs: may @path cross a mount point?
 * Return: a descriptor, the caller's; -1 and errno: ELOOP or EXDEV when a link or a mount point is
 * in the way
 */
int beneath_open(int dir, const char *path, int flags, mode_t mode, bool other_fs);

/**
 * beneath_dir() - open the directory at the absolute @path, through no symbolic link
 * Return: a descriptor (O_PATH), the caller's; -errno
 */
int beneath_dir(const char *path);

#endif
