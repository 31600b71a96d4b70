// SPDX-License-Identifier: GPL-2.0-or-later
/* hostroot.c - a descriptor of the host's root directory, by which all mounts below it are reached. */
#include "common/host/hostroot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static char prefix[32];

int hostroot_keep(void)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	snprintf(prefix, sizeof(prefix), "/proc/self/fd/%d", fd);
	return 0;
}

const char *hostroot(void)
{
	return prefix;
}
