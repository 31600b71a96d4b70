/* SPDX-License-Identifier: GPL-2.0-or-later */
/* foreign.h - what CRIU, as root, makes for a process that could not make it by itself, and that no file's mode guards. */
#ifndef HAUL_AGENT_FOREIGN_H
#define HAUL_AGENT_FOREIGN_H

#include <sys/types.h>

#include "agent/check/rights.h"

struct wrk;
/**
 * foreign_proc() - may the process @pid (of this host), which is @id, have @path open, if it is a file of /proc/N of
 * another process of the tree? The kernel asks only who opens it, which was root, and gives the memory that N has now.
 * At the source N may have executed another program since. The directory /proc/N itself is for everybody.
 * Return: 0 yes, also of other files; -EACCES
 */
int foreign_proc(const struct wrk *w, pid_t pid, const struct rights_id *id, const char *path);
/**
 * foreign_port() - is descriptor @fd of process @pid an internet socket at a port that is for root here?
 * @port: out
 * Return: 0 no; -EACCES; -errno
 */
int foreign_port(pid_t pid, int fd, const struct rights_id *id, unsigned int *port);

#endif
