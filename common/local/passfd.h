/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passfd.h - messages with descriptors over UNIX sockets (unix(7), SCM_RIGHTS). */
#ifndef HAUL_PASSFD_H
#define HAUL_PASSFD_H

#include <stddef.h>
#include <sys/types.h>

#define PASSFD_MAX 253 /* descriptors with one message: the kernel's SCM_MAX_FD */

/**
 * passfd_send() - send @bytes of @data with @n descriptors, which stay the caller's
 * @flags: of sendmsg(2), besides MSG_NOSIGNAL
 * Return: 0; -errno
 */
int passfd_send(int sk, const void *data, size_t bytes, const int *fd, size_t n, int flags);
/**
 * passfd_take() - receive a message of at most @bytes, and its descriptors, which are the caller's and
 * close on exec
 * @n: in: how many have room in @fd; out: how many came
 * Return: bytes; 0: the other end is closed; -EBADMSG: more came, which is closed; -errno
 */
ssize_t passfd_take(int sk, void *data, size_t bytes, int *fd, size_t *n);

#endif
