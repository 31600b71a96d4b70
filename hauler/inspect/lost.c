// SPDX-License-Identifier: GPL-2.0-or-later
/* lost.c - attributes of processes and threads that neither CRIU nor haul can restore: they are named. */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512
#define SET_AGAIN  "the program has to set it again after the move"

/* Bits of the flags in /proc/PID/stat; the kernel's numbers. */
#define TASK_MCE_PROCESS   0x00000080UL
#define TASK_MEMALLOC_NOIO 0x00080000UL

/* A value of the line that begins with @key in /proc/PID/@file. Return: false: there is none */
static bool find_value(pid_t pid, const char *file, const char *key, char *out, size_t bytes)
{
	AUTO(file) FILE *f = inspect_open(pid, file);
	char line[LINE_BYTES];
	size_t n = strlen(key);

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) != 0)
			continue;
		const char *at = line + n + strspn(line + n, " \t");

		snprintf(out, bytes, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	return false;
}

static int look_personality(struct inspect *i, pid_t pid)
{
	char value[LINE_BYTES];
	unsigned long bits;

	if (!find_value(pid, "personality", "", value, sizeof(value)) ||
	    !(bits = strtoul(value, NULL, 16)))
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "personality", SET_AGAIN,
	        "pid %d has the personality %lx (personality(2), setarch), which is 0 at the "
	        "destination: programs that it starts there get other addresses",
	        pid, bits);
}

static int look_merge(struct inspect *i, pid_t pid)
{
	char value[LINE_BYTES];

	if (!find_value(pid, "ksm_stat", "ksm_merge_any:", value, sizeof(value)) ||
	    strcmp(value, "yes") != 0)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "memory-merge", SET_AGAIN,
	        "pid %d lets equal pages be merged (PR_SET_MEMORY_MERGE), and does not at the "
	        "destination: it can need more memory there",
	        pid);
}

static int look_flags(struct inspect *i, pid_t pid)
{
	char value[LINE_BYTES];
	unsigned long flags;
	const char *at;

	if (!find_value(pid, "stat", "", value, sizeof(value)) || !(at = strrchr(value, ')')) ||
	    sscanf(at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) != 1 ||
	    !(flags & (TASK_MCE_PROCESS | TASK_MEMALLOC_NOIO)))
		return 0;
	return inspect_say(i, SEV_WARNING, "task-flags", SET_AGAIN,
	                   "pid %d has set its own %s, which is the default at the destination",
	                   pid,
	                   flags & TASK_MCE_PROCESS ? "machine check policy (PR_MCE_KILL)"
	                                            : "PR_SET_IO_FLUSHER");
}

struct fs {
	char dir[INSPECT_PATH_MAX], umask[16];
};

static void read_fs(pid_t pid, const char *tid, struct fs *out)
{
	char path[64];

	snprintf(path, sizeof(path), "task/%.12s/cwd", tid);
	if (inspect_link(pid, path, out->dir, sizeof(out->dir)) <= 0)
		out->dir[0] = 0;
	snprintf(path, sizeof(path), "task/%.12s/status", tid);
	if (!find_value(pid, path, "Umask:", out->umask, sizeof(out->umask)))
		out->umask[0] = 0;
}

/* A working directory or umask that is not the leader's (unshare(CLONE_FS)). */
static int look_thread(struct inspect *i, pid_t pid, const char *tid, const struct fs *leader)
{
	struct fs own;

	read_fs(pid, tid, &own);
	bool dir = own.dir[0] && strcmp(own.dir, leader->dir) != 0;

	if (!dir && (!own.umask[0] || !strcmp(own.umask, leader->umask)))
		return 0;
	return inspect_say(i, SEV_WARNING, "thread-directory", SET_AGAIN,
	                   "thread %s of pid %d has a %s of its own (unshare(CLONE_FS)); at the "
	                   "destination it has the process's",
	                   tid, pid, dir ? "working directory" : "umask");
}

static int look_threads(struct inspect *i, pid_t pid)
{
	char path[32], name[16];
	struct fs leader;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	snprintf(name, sizeof(name), "%d", pid);
	read_fs(pid, name, &leader);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; r == 0 && d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) && strcmp(de->d_name, name) != 0)
			r = look_thread(i, pid, de->d_name, &leader);
	return r;
}

int inspect_lost(struct inspect *i, pid_t pid)
{
	static int (*const looks[])(struct inspect *, pid_t) = { look_personality, look_merge,
		                                                 look_flags, look_threads };
	int r = 0;

	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(looks); k++)
		r = looks[k](i, pid);
	return r;
}
