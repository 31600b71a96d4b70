// SPDX-License-Identifier: GPL-2.0-or-later
/* room.c - cgroups for trees, by systemd where it runs. */
#include "engine/proc/room.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "engine/proc/frost.h"

#define SCOPE_LIMIT_MS 5000
#define LOOK_EVERY_US  5000
#define YOUNG_S        60 /* of a cgroup that may not have its first process yet */
#define MOUNT_BYTES    256

extern char **environ;

static bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

/* ---- a scope of systemd's ---- */

/* Is the process in the scope? Then note its directory. */
static bool is_in_scope(pid_t pid, const char *name, char dir[ROOM_DIR_BYTES])
{
	char mount[MOUNT_BYTES];
	AUTO(mem) char *group = frost_cgroup_of(pid);

	if (!group || !strstr(group, name) || frost_mount(mount, sizeof(mount)) < 0)
		return false;
	return snprintf(dir, ROOM_DIR_BYTES, "%s%s", mount, group) < ROOM_DIR_BYTES;
}

/* systemd moves it after it has answered. */
static int wait_in_scope(pid_t pid, const char *name, char dir[ROOM_DIR_BYTES], struct err *e)
{
	uint64_t deadline = deadline_in_ms(SCOPE_LIMIT_MS);

	while (!is_in_scope(pid, name, dir)) {
		if (now_us() > deadline)
			return err_set(e, ERR_SYS, ETIMEDOUT, "systemd makes no %s", name);
		usleep(LOOK_EVERY_US);
	}
	return 0;
}

static int make_scope(const char *name, pid_t pid, char dir[ROOM_DIR_BYTES], struct err *e)
{
	char scope[80], number[16];
	const char *argv[] = { "busctl",
		               "--quiet",
		               "--timeout=5",
		               "call",
		               "org.freedesktop.systemd1",
		               "/org/freedesktop/systemd1",
		               "org.freedesktop.systemd1.Manager",
		               "StartTransientUnit",
		               "ssa(sv)a(sa(sv))",
		               scope,
		               "fail",
		               "3",
		               "Description",
		               "s",
		               "moved by haul",
		               "CollectMode",
		               "s",
		               "inactive-or-failed",
		               "PIDs",
		               "au",
		               "1",
		               number,
		               "0",
		               NULL };
	int status = 0;
	pid_t child;

	snprintf(scope, sizeof(scope), "%s.scope", name);
	snprintf(number, sizeof(number), "%d", pid);
	int r = posix_spawnp(&child, argv[0], NULL, NULL, (char *const *)argv, environ);

	if (r)
		return err_set(e, ERR_SYS, r, "busctl: %s", strerror(r));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status ? err_set(e, ERR_SYS, EIO, "systemd does not make %s", scope)
	              : wait_in_scope(pid, scope, dir, e);
}

/* ---- a cgroup without systemd ---- */

static int make_cgroup(const char *name, char dir[ROOM_DIR_BYTES], struct err *e)
{
	char mount[MOUNT_BYTES];

	if (frost_mount(mount, sizeof(mount)) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "no cgroup version 2 here");
	if (snprintf(dir, ROOM_DIR_BYTES, "%s/%s", mount, name) >= ROOM_DIR_BYTES)
		return err_set(e, ERR_SYS, ENAMETOOLONG, "%s/%s", mount, name);
	return mkdir(dir, 0755) < 0 ? err_sys(e, "make %s", dir) : 0;
}

int room_new(const char *name, pid_t pid, char dir[ROOM_DIR_BYTES], struct err *e)
{
	dir[0] = 0;
	if (has_systemd())
		return make_scope(name, pid, dir, e);
	int r = make_cgroup(name, dir, e);

	if (r == 0 && (r = frost_enter(dir, pid)) < 0) {
		err_set(e, ERR_SYS, -r, "%s: %s", dir, strerror(-r));
		rmdir(dir);
	}
	if (r < 0)
		dir[0] = 0;
	return r;
}

void room_end(const char *dir)
{
	if (dir[0])
		rmdir(dir); /* one that has processes cannot be removed */
}

static void remove_old(const char *mount, const char *name)
{
	char path[MOUNT_BYTES + 300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", mount, name);
	if (stat(path, &st) == 0 && time(NULL) - st.st_mtime > YOUNG_S)
		rmdir(path);
}

void room_sweep(const char *prefix)
{
	char mount[MOUNT_BYTES];
	AUTO(dir) DIR *d = frost_mount(mount, sizeof(mount)) == 0 ? opendir(mount) : NULL;

	for (struct dirent *de; d && (de = readdir(d));)
		if (!strncmp(de->d_name, prefix, strlen(prefix)))
			remove_old(mount, de->d_name);
}
