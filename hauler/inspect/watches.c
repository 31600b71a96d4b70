// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watches.c - what a program would notice of haul's own reading: leases, watches, permission
 * events.
 */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#define LINE_BYTES 512

/* Events caused by an open, a read and a close of haul or of CRIU. */
#define READ_EVENTS ((unsigned int)(IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE))

/* ---- leases ---- */

static bool says_lease(FILE *f)
{
	char line[LINE_BYTES];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, " LEASE "))
			return true;
	return false;
}

static int add_lease(struct inspect *i, const struct stat *st)
{
	struct inspect_lease *v = realloc(i->leases.v, (i->leases.n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	i->leases.v = v;
	v[i->leases.n++] = (struct inspect_lease){ st->st_dev, st->st_ino };
	return 0;
}

static int look_leases(struct inspect *i, pid_t pid)
{
	char path[32], what[32], name[INSPECT_PATH_MAX];
	struct stat st;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && r == 0 && (de = readdir(d));) {
		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		snprintf(what, sizeof(what), "fdinfo/%.12s", de->d_name);
		AUTO(file) FILE *f = inspect_open(pid, what);

		if (!says_lease(f) || fstatat(dirfd(d), de->d_name, &st, 0) < 0)
			continue;
		snprintf(what, sizeof(what), "fd/%.12s", de->d_name);
		inspect_link(pid, what, name, sizeof(name));
		r = add_lease(i, &st);
		if (r < 0)
			return r;
		r = inspect_say(i, SEV_BLOCKER, "lease",
		                "the program has to give the lease up first",
		                "descriptor %s of pid %d holds a lease on %s: any open of the file "
		                "breaks it, so haul does not open it",
		                de->d_name, pid, name);
	}
	return r;
}

int inspect_leases(struct inspect *i)
{
	AUTO(file) FILE *f = fopen("/proc/locks", "re");
	int r = 0;

	/* usually no process has one: then no descriptor is looked at */
	if (f && !says_lease(f))
		return 0;
	for (size_t k = 0; r == 0 && k < i->procs.n; k++)
		r = look_leases(i, i->procs.pid[k]);
	return r;
}

bool inspect_is_leased(const struct inspect *i, const char *path)
{
	struct stat st;

	if (!i->leases.n || stat(path, &st) < 0)
		return false;
	for (size_t k = 0; k < i->leases.n; k++)
		if (i->leases.v[k].inode == st.st_ino && i->leases.v[k].dev == st.st_dev)
			return true;
	return false;
}

/* ---- watches ---- */

/* Return: all events that the descriptor is registered for */
static unsigned int events_of(pid_t pid, int fd)
{
	char what[32], line[LINE_BYTES];
	unsigned int all = 0;

	snprintf(what, sizeof(what), "fdinfo/%d", fd);
	AUTO(file) FILE *f = inspect_open(pid, what);

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, " mask:");
		unsigned int mask;

		if (at && sscanf(at, " mask:%x", &mask) == 1)
			all |= mask;
	}
	return all;
}

/* Events that the program has not read do not move; as a rule it reads them at once. */
static int look_queue(struct inspect *i, pid_t pid, int fd, const char *what)
{
	AUTO(fd) int copy = procs_copy_fd(pid, fd);
	int bytes = 0;

	if (copy < 0 || ioctl(copy, FIONREAD, &bytes) < 0 || !bytes)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "watch-events", "let the program read them before the move",
	        "%s: %d bytes of events wait that the program has not read; CRIU does not "
	        "take them along",
	        what, bytes);
}

static bool is_admin(pid_t pid)
{
	char line[LINE_BYTES];
	unsigned long long caps = 0;
	AUTO(file) FILE *f = inspect_open(pid, "status");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	return caps >> CAP_SYS_ADMIN & 1;
}

int inspect_watches(struct inspect *i, pid_t pid, int fd, const char *what, const char *name)
{
	unsigned int events = events_of(pid, fd);
	int r = look_queue(i, pid, fd, what);

	if (r < 0)
		return r;
	if (!strcmp(name, "[fanotify]") && !is_admin(pid))
		return inspect_say(i, SEV_BLOCKER, "fanotify-user",
		                   "use inotify in the program, or close it for the move",
		                   "%s was made without CAP_SYS_ADMIN; CRIU would make it as root, "
		                   "and it would tell more",
		                   what);
	if (!strcmp(name, "[fanotify]") &&
	    events & (FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM))
		return inspect_say(i, SEV_BLOCKER, "fanotify-permission",
		                   "switch on-access scanning off in the program, or stop it",
		                   "%s decides about each open of a file: while the process is "
		                   "stopped no process can open one, neither haul nor CRIU",
		                   what);
	if (events & READ_EVENTS)
		return inspect_say(
		        i, SEV_INFO, "watch-reads", NULL,
		        "%s watches for files being opened or read: haul and CRIU do that, too",
		        what);
	return 0;
}
