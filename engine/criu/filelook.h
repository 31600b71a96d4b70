/* SPDX-License-Identifier: GPL-2.0-or-later */
/* filelook.h - what the kernel notes of an open file, and neither /proc nor a system call tells. */
#ifndef HAUL_FILELOOK_H
#define HAUL_FILELOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct filelook;

/* Of one descriptor; of a socket only what such a socket has. */
struct filelook_seen {
	int fd;
	bool watched; /* a directory that something watches: inotify, fanotify, or F_NOTIFY by a process */
	bool random; /* POSIX_FADV_RANDOM */
	unsigned int write_hint; /* F_SET_RW_HINT of the file, RWH_WRITE_LIFE_*; 0: none */
	bool reuse_program; /* a BPF program chooses among the sockets of a port (SO_ATTACH_REUSEPORT_*) */
	bool by_number; /* IPv4 multicasts go by an interface that was chosen by its number alone */
	bool flow_labels; /* it has leased IPv6 flow labels */
	bool anycast; /* it has joined IPv6 anycast groups */
	bool ipsec; /* it has an IPsec policy of its own */
};

/** filelook_new() - load the BPF program. Return: 0; -ENOTSUP: no BPF iterators here (kernel 6.1 with BTF) */
int filelook_new(struct filelook **out, struct err *e);
/**
 * filelook_read() - at all descriptors of @pid, those that have something of it
 * @out: the caller's; @n: how many
 * Return: 0; -errno
 */
int filelook_read(const struct filelook *f, pid_t pid, struct filelook_seen **out, size_t *n,
                  struct err *e);
void filelook_free(struct filelook *f);
DEFINE_AUTO(filelook, filelook_free)

#endif
