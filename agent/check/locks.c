// SPDX-License-Identifier: GPL-2.0-or-later
/* locks.c - a lock that the tree has, and that a process of this host has, too. */
#include "agent/check/files.h"

#include "common/printable.h"
#include "engine/proc/proclocks.h"
#include "transport/msg/haul.pb-c.h"

#define EXCLUSIVE 2u /* of Haul__File.lock */

struct look {
	struct stat st;
	bool exclusive;
	pid_t pid;
};

static int match(void *arg, const struct proclock *l)
{
	struct look *k = arg;

	if (l->waits || l->pid <= 0 || l->inode != k->st.st_ino || l->dev != k->st.st_dev ||
	    !(l->writes || k->exclusive))
		return 0;
	k->pid = l->pid;
	return 1;
}

int locks_check(const Haul__File *f, int fd, struct findings *out)
{
	struct look k = { .exclusive = f->lock == EXCLUSIVE };
	char comm[32], name[256];

	if (!f->lock || fstat(fd, &k.st) < 0 || !proclocks_each(match, &k))
		return 0;
	printable_comm(k.pid, comm, sizeof(comm));
	return finding_add(out, SEV_BLOCKER, "lock-taken", "end that process there first",
	                   "the tree has a lock on %s; at the destination pid %d (%s) has one, too",
	                   files_clean(f->path, name, sizeof(name)), k.pid, comm);
}
