/* SPDX-License-Identifier: GPL-2.0-or-later */
/* within.h - work in the pid and mount namespaces of another process: all of /proc, ptrace and CRIU has its numbers and names then. */
#ifndef HAUL_ENGINE_PROC_WITHIN_H
#define HAUL_ENGINE_PROC_WITHIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

/** within_shares() - is @pid's @what, "ns/net" or "root/.", the same as ours? false: also when it cannot be seen */
bool within_shares(pid_t pid, const char *what);
/** within_spaces() - is @pid in another mount or UTS namespace than this process, which within_fork() can enter? */
bool within_spaces(pid_t pid);
/**
 * within_can() - is @pid in a pid namespace below ours that can be entered: not its process 1, of the same user
 * namespace, with the same root directory?
 */
bool within_can(pid_t pid);
/**
 * within_fork() - fork; the child is in the pid, mount and UTS namespace of @pid, and dies with its parent.
 * Called with one thread
 * Return: as fork(2); -errno
 */
pid_t within_fork(pid_t pid, struct err *e);
/**
 * within_wait() - wait for that child, and pass SIGINT, SIGTERM and SIGHUP on to it
 * Return: its exit status; 128 and the signal that has ended it
 */
int within_wait(pid_t child);

#endif
