/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reopen.h - open a file for reading without doing anything to its users. */
#ifndef HAUL_REOPEN_H
#define HAUL_REOPEN_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * reopen_leased() - does a process hold a write lease on inode @ino, or, if @ino is 0, on any?
 * To open such a file breaks the lease: the kernel sends the holder a signal, which ends most programs.
 */
bool reopen_leased(ino_t ino);
/**
 * reopen_read() - open the regular file at @path_fd for reading, and nothing else: no device, no FIFO
 * @path_fd: opened with O_PATH, borrowed
 * @flags:   more flags for open(); O_NOATIME is left out where it is not permitted
 * Return: a descriptor, close-on-exec; -ESTALE not a regular file; -EBUSY a lease; -errno
 */
int reopen_read(int path_fd, int flags);

#endif
