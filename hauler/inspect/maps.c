// SPDX-License-Identifier: GPL-2.0-or-later
/* maps.c - mappings: programs, libraries, shared memory, and memory without a file. */
#include "hauler/inspect/priv.h"

#include <stdlib.h>
#include <string.h>

#define ANON_WORD    "anon_inode:"
#define MAP_FILE_MAX 64

struct mapping {
	pid_t pid;
	unsigned long start, end, inode;
	char prot[8], dev[16];
	const char *name; /* in the line */
};

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static void path_of(const struct mapping *m, char out[MAP_FILE_MAX])
{
	snprintf(out, MAP_FILE_MAX, "/proc/%d/map_files/%lx-%lx", m->pid, m->start, m->end);
}

/* The file itself, even after it has lost its name. */
static int stat_mapping(const struct mapping *m, struct stat *st)
{
	char path[MAP_FILE_MAX];

	path_of(m, path);
	return stat(path, st) < 0 ? -errno : 0;
}

static int look_file(struct inspect *i, const struct mapping *m, const char *what)
{
	bool shared = m->prot[3] == 's' && m->prot[1] == 'w';
	char path[MAP_FILE_MAX];
	struct stat st;

	if (stat_mapping(m, &st) < 0)
		return 0; /* unmapped meanwhile */
	if (S_ISCHR(st.st_mode) && !strcmp(m->name, "/dev/zero"))
		return 0;
	if (!S_ISREG(st.st_mode))
		return inspect_say(i, SEV_BLOCKER, "device",
		                   "start the program without the device (a GPU, for example)",
		                   "%s: memory of the device %s", what, m->name);
	int r = inspect_reachable(i, m->name, &st, what);

	path_of(m, path);
	return r == 1 ? inspect_file_held(i, m->name,
	                                  INSPECT_MAPPED |
	                                          (shared ? INSPECT_WRITE | INSPECT_OPEN : 0),
	                                  &st, path)
	              : r;
}

/* Names that the kernel gives to memory without a file that the user made. */
static int look_special(struct inspect *i, const struct mapping *m, const char *what, bool *done)
{
	struct stat st;

	*done = true;
	if (starts(m->name, "/memfd:") || starts(m->name, "/dev/zero (deleted)"))
		return stat_mapping(m, &st) < 0 ? 0 : inspect_shm(i, &st, INSPECT_OBJECT);
	if (starts(m->name, "/SYSV") && i->own_ipc)
		return stat_mapping(m, &st) < 0 ? 0 : inspect_shm(i, &st, INSPECT_SEGMENT);
	if (starts(m->name, "/SYSV"))
		return inspect_say(i, SEV_BLOCKER, "sysv-shm",
		                   "start the program in an IPC namespace of its own "
		                   "(unshare --ipc PROGRAM, or PrivateIPC=yes in its systemd unit)",
		                   "%s: System V shared memory %s", what, m->name);
	if (starts(m->name, "/secretmem"))
		return inspect_say(i, SEV_BLOCKER, "secretmem", "start the program without it",
		                   "%s: secret memory, which no other process can read", what);
	if (!strcmp(m->name, "[uprobes]"))
		return inspect_say(i, SEV_BLOCKER, "uprobes",
		                   "end the tracing tool, restart the process",
		                   "%s: probes of a tracing tool", what);
	if (starts(m->name, ANON_WORD))
		return inspect_anon(i, what, m->name + strlen(ANON_WORD));
	*done = m->name[0] != '/' || starts(m->name, "/[aio]") || starts(m->name, "/anon_hugepage");
	return 0;
}

static int look_mapping(struct inspect *i, const struct mapping *m)
{
	char what[96];
	bool done;

	snprintf(what, sizeof(what), "mapping %lx of pid %d", m->start, m->pid);
	int r = look_special(i, m, what, &done);

	return r < 0 || done ? r : look_file(i, m, what);
}

int inspect_maps(struct inspect *i, pid_t pid)
{
	AUTO(mem) char *line = NULL;
	AUTO(file) FILE *f = inspect_open(pid, "maps");
	struct mapping m = { .pid = pid }, last = m;
	size_t cap = 0;
	int r = 0;

	while (f && r == 0 && getline(&line, &cap, f) > 0) {
		int at = 0;

		line[strcspn(line, "\n")] = 0;
		*(strchr(line, '/') ? &i->count.file_maps : &i->count.maps) += 1;
		if (sscanf(line, "%lx-%lx %7s %*s %15s %lu %n", &m.start, &m.end, m.prot, m.dev,
		           &m.inode, &at) < 5 ||
		    !line[at])
			continue;
		m.name = line + at;
		/* the segments of one library follow each other: stat it once */
		if (m.inode && m.inode == last.inode && !strcmp(m.dev, last.dev) &&
		    m.prot[3] == last.prot[3] && m.prot[1] == last.prot[1])
			continue;
		r = look_mapping(i, &m);
		last = m;
	}
	return r;
}
