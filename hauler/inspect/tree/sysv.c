// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sysv.c - System V semaphores and message queues of the host's IPC namespace, which stay here. Nothing says which
 * process uses one; the kernel notes which was the last.
 */
#include "hauler/inspect/priv.h"

#include <sys/sem.h>

#include "hauler/inspect/tree/tree.h"

#define TABLE "/proc/sysvipc/"
#define SEMS  256 /* of a set, that are asked who was the last */

static int say(struct inspect *i, pid_t pid, const char *what, int id)
{
	return inspect_say(i, SEV_BLOCKER, "sysv-ipc",
	                   "start the program in an IPC namespace of its own (unshare --ipc, "
	                   "PrivateIPC=yes): that moves",
	                   "pid %d uses the System V %s %d of the host, which does not move", pid,
	                   what, id);
}

static int look_semaphores(struct inspect *i)
{
	AUTO(file) FILE *f = fopen(TABLE "sem", "re");
	char line[256];
	int id, n, r = 0;

	while (r == 0 && f && fgets(line, sizeof(line), f)) {
		/* key, semid, perms, nsems; the first line is a title */
		if (sscanf(line, "%*d %d %*o %d", &id, &n) != 2)
			continue;
		for (int k = 0; r == 0 && k < n && k < SEMS; k++) {
			int pid = semctl(id, k, GETPID);

			if (pid > 0 && inspect_in_tree(i, pid)) {
				r = say(i, pid, "semaphore set", id);
				break;
			}
		}
	}
	return r;
}

static int look_queues(struct inspect *i)
{
	AUTO(file) FILE *f = fopen(TABLE "msg", "re");
	char line[256];
	int id, sent, received, r = 0;

	while (r == 0 && f && fgets(line, sizeof(line), f)) {
		/* key, msqid, perms, cbytes, qnum, lspid, lrpid */
		if (sscanf(line, "%*d %d %*o %*u %*u %d %d", &id, &sent, &received) != 3)
			continue;
		if (inspect_in_tree(i, sent) || inspect_in_tree(i, received))
			r = say(i, inspect_in_tree(i, sent) ? sent : received, "message queue", id);
	}
	return r;
}

int inspect_sysv(struct inspect *i)
{
	if (i->own_ipc || i->foreign)
		return 0;
	int r = look_semaphores(i);

	return r < 0 ? r : look_queues(i);
}
