/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reach.h - act as another process: connect to a UNIX socket as the process that is to have the connection. */
#ifndef HAUL_AGENT_REACH_H
#define HAUL_AGENT_REACH_H

#include <sys/types.h>

#include "agent/check/rights.h"

struct reach {
	const struct rights_id *id; /* whose rights count; the server gets its user and groups */
	pid_t pid; /* the server gets this process ID, if it is free; 0: any */
	const char *path; /* absolute; an abstract name begins with @ */
	int type; /* SOCK_... */
	const char *
	        first; /* to be sent before anything else; NULL: nothing. The reading half closes */
};

/**
 * reach_connect() - a connection whose SO_PEERCRED is that of @r->id and @r->pid
 * A child process takes on the identity, connects and sends. It waits five seconds at most.
 * Return: the socket, the caller's; -EACCES, -ELOOP as rights_open(); -ENOENT; -ECONNREFUSED; -errno
 */
int reach_connect(const struct reach *r);

/* System calls only: other threads of the parent may have held locks. Return: 0; -errno */
typedef int (*reach_fn)(void *arg);
/**
 * reach_as() - call @fn in a child process that has become @id, without the capabilities of a root that it is not
 * @number: the child's process ID, if it is free; 0: any
 * @root:   its root directory; NULL: that of the caller
 * Waits ten seconds at most. Return: what @fn returns, from 0 to -255; -EIO the child was killed; -errno
 */
int reach_as(const struct rights_id *id, pid_t number, const char *root, reach_fn fn, void *arg);

#endif
