// SPDX-License-Identifier: GPL-2.0-or-later
/* sock_diag.c - ask the kernel for its sockets: one sock_diag dump. */
#include "engine/net/sock_diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/auto.h"

#define DIAG_BYTES   32768
#define DIAG_LIMIT_S 5

/* Return: 1 the dump is complete, 0 more comes, -errno */
static int take(const char *buf, size_t n, sock_diag_fn fn, void *arg)
{
	for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, n);
	     h = NLMSG_NEXT(h, n)) {
		int code = 0;

		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
				memcpy(&code, NLMSG_DATA(h), sizeof(code));
			return code < 0 ? code : -EPROTO;
		}
		int r = fn(arg, h);

		if (r < 0)
			return r;
	}
	return 0;
}

int sock_diag_dump(const void *req, size_t bytes, sock_diag_fn fn, void *arg)
{
	AUTO(fd) int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	AUTO(mem) char *buf = malloc(DIAG_BYTES);
	struct timeval limit = { .tv_sec = DIAG_LIMIT_S };
	struct nlmsghdr h = { .nlmsg_len = (uint32_t)(sizeof(h) + bytes),
		              .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP };
	struct iovec io[2] = { { &h, sizeof(h) }, { (void *)req, bytes } };
	struct msghdr m = { .msg_iov = io, .msg_iovlen = 2 };
	int r = 0;

	if (!buf)
		return -ENOMEM;
	if (nl < 0 || setsockopt(nl, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    sendmsg(nl, &m, 0) < 0)
		return -errno;
	while (r == 0) {
		ssize_t n = recv(nl, buf, DIAG_BYTES, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		r = take(buf, (size_t)n, fn, arg);
	}
	return r < 0 ? r : 0;
}
