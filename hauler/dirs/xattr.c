// SPDX-License-Identifier: GPL-2.0-or-later
/* xattr.c - extended attributes of a file that is sent. */
#include <string.h>
#include <sys/xattr.h>

#include "hauler/dirs/priv.h"

/* Labels of security modules belong to the host: they do not move. */
static bool travels(const char *name)
{
	return strncmp(name, "security.", 9) || !strcmp(name, "security.capability");
}

/* An O_PATH descriptor is read through /proc/self/fd, which leads to a symbolic link itself. */
int dirs_read_xattrs(struct xattrs *x, int fd, bool by_link)
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = by_link ? listxattr(link, x->names, sizeof(x->names))
	                    : flistxattr(fd, x->names, sizeof(x->names));

	x->n = x->used = 0;
	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(x->names + at) + 1) {
		const char *name = x->names + at;
		uint8_t *to = x->values + x->used;
		size_t left = sizeof(x->values) - x->used;

		if (!travels(name))
			continue;
		ssize_t got = by_link ? getxattr(link, name, to, left)
		                      : fgetxattr(fd, name, to, left);

		if (got < 0 && errno == ENODATA)
			continue;
		if (got < 0 || x->n == BATCH_XATTRS_MAX)
			return got < 0 ? -errno : -E2BIG;
		x->v[x->n].name = name;
		x->v[x->n].at = x->used;
		x->v[x->n++].bytes = (size_t)got;
		x->used += (size_t)got;
	}
	return 0;
}

size_t dirs_xattrs_bytes(const struct xattrs *x)
{
	return x->used + x->n * (sizeof(Haul__TreeXattr) + sizeof(void *) + 300);
}
