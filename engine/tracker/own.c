// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * own.c - one tracker for a process at a time: two would take each other's written pages. The
 * owner holds a lock on its /proc/PID/fd, which unprivileged users cannot open and which ends with
 * the owner.
 */
#include "engine/tracker/priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/printable.h"
#include "engine/proc/proclocks.h"

static void path_of(pid_t pid, char *out, size_t bytes)
{
	snprintf(out, bytes, "/proc/%d/fd", pid);
}

static int is_holder(void *arg, const struct proclock *l)
{
	const struct stat *st = arg;

	return l->flock && !l->waits && l->inode == st->st_ino && l->dev == st->st_dev ? l->pid : 0;
}

/* The holder of the lock; 0: none that we can see */
static pid_t holder(pid_t pid)
{
	char path[32];
	struct stat st;

	path_of(pid, path, sizeof(path));
	return stat(path, &st) < 0 ? 0 : proclocks_each(is_holder, &st);
}

static int refuse(pid_t pid, pid_t who, struct err *e)
{
	char comm[32] = "another program";

	if (who > 0)
		printable_comm(who, comm, sizeof(comm));
	err_set(e, ERR_TARGET, EBUSY, "process %d is tracked already, by %s (pid %d)", pid, comm,
	        who);
	return err_fix(e, "one haul or haul watch at a time: wait until it has ended, or end it");
}

int own_take(pid_t pid, struct err *e)
{
	char path[32];

	path_of(pid, path, sizeof(path));
	AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_TARGET, errno == ENOENT ? ESRCH : errno, "%s: %s", path,
		               strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return steal_fd(&fd);
	return errno == EWOULDBLOCK ? refuse(pid, holder(pid), e) : err_sys(e, "lock %s", path);
}

int own_above(pid_t pid, struct err *e)
{
	while ((pid = procs_parent(pid)) > 0) {
		pid_t who = holder(pid);

		if (who)
			return refuse(pid, who, e);
	}
	return 0;
}
