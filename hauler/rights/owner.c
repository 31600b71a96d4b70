// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * owner.c - does a whole tree belong to one user, with no rights but the user's own? Asked before the
 * move, and again when the tree is stopped.
 */
#include "hauler/rights/owner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/host/account.h"
#include "common/auto.h"
#include "engine/proc/proc.h"

static int other_group(pid_t pid, unsigned long gid, const struct account *a, struct err *e)
{
	return err_set(e, ERR_TARGET, EPERM,
	               "pid %d of the tree has the group %lu, which is not one of user %u", pid,
	               gid, a->uid);
}

/* All four of a thread: another one could be taken on elsewhere. */
static int check_ids(const char *line, pid_t pid, const struct account *a, struct err *e)
{
	unsigned int v[4];

	if (sscanf(line, "Uid: %u %u %u %u", &v[0], &v[1], &v[2], &v[3]) == 4)
		for (size_t i = 0; i < ARRAY_SIZE(v); i++)
			if (v[i] != a->uid)
				return err_set(e, ERR_TARGET, EPERM,
				               "pid %d of the tree belongs to user %u, not to %u",
				               pid, v[i], a->uid);
	if (sscanf(line, "Gid: %u %u %u %u", &v[0], &v[1], &v[2], &v[3]) == 4)
		for (size_t i = 0; i < ARRAY_SIZE(v); i++)
			if (!account_has(a, v[i]))
				return other_group(pid, v[i], a, e);
	return 0;
}

static int check_groups(const char *list, pid_t pid, const struct account *a, struct err *e)
{
	char *end;

	for (;; list = end) {
		unsigned long gid = strtoul(list, &end, 10);

		if (end == list)
			return 0;
		if (!account_has(a, (gid_t)gid))
			return other_group(pid, gid, a, e);
	}
}

static int check_line(const char *line, pid_t pid, const struct account *a, struct err *e)
{
	static const char *const caps[] = { "CapInh:", "CapPrm:", "CapEff:", "CapAmb:" };

	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		if (a->uid != 0 && !strncmp(line, caps[i], strlen(caps[i])) &&
		    strtoull(line + strlen(caps[i]), NULL, 16))
			return err_set(
			        e, ERR_TARGET, EPERM,
			        "pid %d of the tree has capabilities, which user %u does not have",
			        pid, a->uid);
	if (!strncmp(line, "Groups:", 7))
		return check_groups(line + 7, pid, a, e);
	return check_ids(line, pid, a, e);
}

/*
 * The kernel gives the files of a process to root when the user may not look into it: it was started with
 * set-user-ID, set-group-ID or file capabilities, from a program that the user may not read, or wishes so.
 */
static int check_dumpable(const char *path, pid_t pid, const struct account *a, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0 || st.st_uid == a->uid)
		return 0;
	return err_set(e, ERR_TARGET, EPERM,
	               "pid %d of the tree may not be looked at by user %u: it was started with "
	               "other rights (set-user-ID, capabilities), or has closed itself "
	               "(PR_SET_DUMPABLE)",
	               pid, a->uid);
}

static int check_thread(const char *path, pid_t pid, const struct account *a, struct err *e)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	int r = 0;
	AUTO(file) FILE *f = fopen(path, "re");

	while (r == 0 && f && getline(&line, &cap, f) > 0)
		r = check_line(line, pid, a, e);
	return r < 0 ? r : check_dumpable(path, pid, a, e); /* one that has ended has nothing */
}

static int check_process(pid_t pid, const struct account *a, struct err *e)
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
		r = check_thread(path, pid, a, e);
	}
	return r;
}

int owner_check(pid_t root, const struct account *owner, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = check_process(l.pid[i], owner, e);
	procs_fini(&l);
	if (r < 0 && e->code == EPERM)
		err_fix(e, "only root may move what has more rights than its user");
	return r;
}
