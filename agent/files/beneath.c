// SPDX-License-Identifier: GPL-2.0-or-later
/* beneath.c - open paths without following any symbolic link. */
#include "agent/files/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

int beneath_open(int dir, const char *path, int flags, mode_t mode, bool other_fs)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
		           (other_fs ? 0 : RESOLVE_NO_XDEV),
	};

	return (int)syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));
}

int beneath_dir(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		                .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}
