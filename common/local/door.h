/* SPDX-License-Identifier: GPL-2.0-or-later */
/* door.h - the daemon hands further sockets of a migration to its worker. */
#ifndef HAUL_DOOR_H
#define HAUL_DOOR_H

#include <stdint.h>

#include "common/err.h"

/** door_open() - worker: listen. Return: a socket, the caller's; -errno */
int door_open(uint64_t route, struct err *e);
/** door_remove() - remove the name of the socket */
void door_remove(uint64_t route);
/** door_sweep() - at hauld's start: remove the names of those whose worker is dead */
void door_sweep(void);
/**
 * door_pass() - daemon: hand @fd to the worker of @route; does not block
 * @fd: stays the caller's
 * Return: 0; -ENOENT or -ECONNREFUSED when there is no worker; -errno
 */
int door_pass(uint64_t route, int fd);
/** door_take() - worker: a socket that was passed, the caller's; -EAGAIN */
int door_take(int door);

#endif
