// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * front.c - the program in front of CRIU. It never stays between a runtime and CRIU: it becomes CRIU (the same process, the
 * same parent, the same descriptors), since a restored container becomes the child of CRIU's parent.
 */
#include "engine/container/front.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/local/passfd.h"
#include "engine/criu/criu.h"
#include "engine/criu/inherit.h"

#define PATH_BYTES 512

bool front_called(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return !strcmp(slash ? slash + 1 : argv0, "criu");
}

/* Folder by folder of PATH. Return: false: no more */
static bool next_folder(const char **path, char out[PATH_BYTES])
{
	size_t n = strcspn(*path, ":");

	if (!**path)
		return false;
	snprintf(out, PATH_BYTES, "%.*s", n < 256 ? (int)n : 0, *path);
	*path += n + ((*path)[n] == ':');
	return true;
}

/* ---- nobody waits ---- */

static bool is_self(const char *path)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat("/proc/self/exe", &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static int pass_on(char **argv)
{
	const char *path = getenv("PATH");
	char dir[PATH_BYTES], file[PATH_BYTES + 8];

	while (path && next_folder(&path, dir)) {
		snprintf(file, sizeof(file), "%s/criu", dir);
		if (access(file, X_OK) == 0 && !is_self(file))
			execv(file, argv);
	}
	fputs("criu: haul stands in front of it, and there is no other criu in PATH\n", stderr);
	return 127;
}

/* ---- haul waits ---- */

static int try_folder(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/" FRONT_SOCKET, dir);
	int fd = n < (int)sizeof(a.sun_path) ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)
	                                     : -1;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The folders before the one that the real CRIU is in. Return: a connection; -1 */
static int find_haul(void)
{
	const char *path = getenv("PATH");
	char dir[PATH_BYTES];
	int fd = -1;

	while (fd < 0 && path && next_folder(&path, dir))
		fd = try_folder(dir);
	return fd;
}

/* The number behind "swrk". Return: -1: another command */
static int swrk_fd(char **argv)
{
	for (int i = 1; argv[i] && argv[i + 1]; i++)
		if (!strcmp(argv[i], "swrk"))
			return atoi(argv[i + 1]);
	return -1;
}

static int become(const struct front_answer *a, int number, int *fd, size_t n)
{
	char no_conf[] = "--no-default-config", swrk[] = "swrk", text[16];
	char *argv[] = { (char *)a->path, no_conf, swrk, text, NULL };

	if (inherit_clear() < 0 || (a->cgroup_space && unshare(CLONE_NEWCGROUP) < 0))
		return 126;
	snprintf(text, sizeof(text), "%d", number);
	dup2(fd[0], number);
	for (size_t i = 1; i < n; i++)
		dup2(fd[i], FRONT_FD_FIRST + (int)i - 1);
	execve(a->path, argv, hwbreak_env());
	fprintf(stderr, "criu: %s: %s\n", a->path, strerror(errno));
	return 127;
}

int front_main(char **argv)
{
	int number = swrk_fd(argv), haul = number < 0 ? -1 : find_haul();
	struct front_answer a = { 0 };
	int fd[FRONT_FDS_MAX];
	size_t n = FRONT_FDS_MAX;

	if (haul < 0)
		return pass_on(argv);
	if (passfd_send(haul, "", 1, &number, 1, 0) < 0)
		return 1;
	if (passfd_take(haul, &a, sizeof(a), fd, &n) != sizeof(a))
		return 1; /* haul gives it up: the runtime sees that CRIU has ended */
	a.path[sizeof(a.path) - 1] = 0;
	return !a.become ? 0 : n ? become(&a, number, fd, n) : 1;
}
