// SPDX-License-Identifier: GPL-2.0-or-later
/* passfd.c - messages with descriptors over UNIX sockets. */
#include "common/local/passfd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASSFD_MAX * sizeof(int))];
};

int passfd_send(int sk, const void *data, size_t bytes, const int *fd, size_t n, int flags)
{
	union room u = { 0 };
	struct iovec io = { (void *)data, bytes };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1 };

	if (n > PASSFD_MAX)
		return -EINVAL;
	if (n) {
		h.msg_control = u.bytes;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fd, n * sizeof(int));
	}
	return sendmsg(sk, &h, MSG_NOSIGNAL | flags) < 0 ? -errno : 0;
}

ssize_t passfd_take(int sk, void *data, size_t bytes, int *fd, size_t *n)
{
	union room u = { 0 };
	struct iovec io = { data, bytes };
	struct msghdr h = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = u.bytes };
	size_t max = *n < PASSFD_MAX ? *n : PASSFD_MAX;

	h.msg_controllen = CMSG_LEN(max * sizeof(int)); /* without room for one more */
	*n = 0;
	ssize_t got = recvmsg(sk, &h, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&h) : NULL;

	if (got <= 0)
		return got < 0 ? -errno : 0;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fd, CMSG_DATA(c), *n * sizeof(int));
	}
	if (!(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return got;
	while (*n)
		close(fd[--*n]);
	return -EBADMSG;
}
