// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * owner.c - does the whole tree belong to one user? Checked before the move, and again when it is
 * stopped.
 */
#include "hauler/inspect/inspect.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"
#include "engine/proc/proc.h"

/*
 * All four user IDs of each thread: a process that holds another one could be made to act as that
 * user elsewhere.
 */
static int thread_owner(const char *path, pid_t pid, uid_t uid, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");
	char line[256];
	unsigned int u[4];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Uid: %u %u %u %u", &u[0], &u[1], &u[2], &u[3]) != 4)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(u); i++)
			if (u[i] != uid)
				return err_set(e, ERR_TARGET, EPERM,
				               "pid %d of the tree belongs to user %u, not to %u",
				               pid, u[i], uid);
		return 0;
	}
	return 0; /* it has exited */
}

static int process_owner(pid_t pid, uid_t uid, struct err *e)
{
	char path[300];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);
	const struct dirent *t;
	int r = 0;

	while (d && r == 0 && (t = readdir(d))) {
		if (t->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", pid, t->d_name);
		r = thread_owner(path, pid, uid, e);
	}
	return r;
}

int inspect_owner(pid_t root, uid_t uid, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = process_owner(l.pid[i], uid, e);
	procs_fini(&l);
	if (r < 0 && e->code == EPERM)
		err_fix(e, "only root may move processes of several users");
	return r;
}
