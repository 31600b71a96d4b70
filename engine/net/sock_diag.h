/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sock_diag.h - ask the kernel for its sockets (sock_diag(7)). */
#ifndef HAUL_SOCK_DIAG_H
#define HAUL_SOCK_DIAG_H

#include <stddef.h>

struct nlmsghdr;
typedef int (*sock_diag_fn)(void *arg, const struct nlmsghdr *h);

/**
 * sock_diag_dump() - one dump; takes at most 5 s
 * @req, @bytes: the request, with its netlink header
 * @fn: called for each answer; a negative result ends the dump
 * Return: 0; -ENOENT the kernel lacks the module for this kind; the result of @fn; -errno
 */
int sock_diag_dump(const void *req, size_t bytes, sock_diag_fn fn, void *arg);

#endif
