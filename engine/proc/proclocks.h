/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proclocks.h - /proc/locks: the locks on files that processes of this host have or wait for. */
#ifndef HAUL_PROCLOCKS_H
#define HAUL_PROCLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proclock {
	bool waits; /* for the lock, which another one has */
	bool writes; /* an exclusive lock */
	bool flock; /* flock(2): it belongs to an open file */
	bool posix; /* it belongs to a process */
	pid_t pid; /* -1: an OFD lock, which belongs to no process */
	uint64_t dev, inode;
	int64_t start, len; /* len 0: to the end */
};

/* Return: 0 to go on; anything else ends it */
typedef int (*proclocks_fn)(void *arg, const struct proclock *l);

/** proclocks_each() - call @fn for each lock. Return: 0, or what @fn returned last */
int proclocks_each(proclocks_fn fn, void *arg);

#endif
