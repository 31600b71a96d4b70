// SPDX-License-Identifier: GPL-2.0-or-later
/* reopen.c - open a file for reading without doing anything to its users. */
#include "common/host/reopen.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"

/*
 * The device is not compared: the kernel lists another number than stat() gives on btrfs and overlay. A
 * wrong yes costs an error message.
 */
bool reopen_leased(ino_t ino)
{
	AUTO(file) FILE *f = fopen("/proc/locks", "re");
	char line[256], kind[16], state[16], access[16];
	unsigned long long number;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %15s %15s %15s %*d %*x:%*x:%llu", kind, state, access,
		           &number) == 4 &&
		    !strcmp(kind, "LEASE") && !strcmp(state, "ACTIVE") &&
		    !strcmp(access, "WRITE") && (!ino || number == ino))
			return true;
	return false;
}

int reopen_read(int path_fd, int flags)
{
	char link[40];
	struct stat st;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ESTALE;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	/* nonblocking: a lease that was taken just now fails the open, too */
	flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(link, flags);

	if (fd < 0 && errno == EPERM && flags & O_NOATIME)
		fd = open(link, flags & ~O_NOATIME);
	if (fd >= 0)
		return fd;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}
