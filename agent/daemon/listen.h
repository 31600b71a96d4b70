/* SPDX-License-Identifier: GPL-2.0-or-later */
/* listen.h - sockets that listen. */
#ifndef HAUL_AGENT_DAEMON_LISTEN_H
#define HAUL_AGENT_DAEMON_LISTEN_H

#include "common/err.h"

/** listen_on() - TCP, dual-stack when possible; @addr: NULL: all. Return: a descriptor, -errno */
int listen_on(const char *addr, unsigned int port, struct err *e);
/** listen_unix() - every user may connect: the kernel names the peer. Return: a descriptor, -errno */
int listen_unix(const char *path, struct err *e);

#endif
