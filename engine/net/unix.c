// SPDX-License-Identifier: GPL-2.0-or-later
/* unix.c - the UNIX sockets of this host: who is connected to whom, and which files they are bound to. */
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/array.h"
#include "engine/net/net.h"
#include "engine/net/netlink.h"

#define STATE_LISTEN      10 /* as of TCP */
#define KERNEL_MINOR_BITS 20 /* of a device number inside the kernel */

struct list {
	struct net_unix *v;
	size_t n, cap;
};

static int take(void *arg, const struct nlmsghdr *h)
{
	struct list *l = arg;
	const struct unix_diag_msg *u = NLMSG_DATA(h);

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*u)))
		return -EPROTO;
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	size_t bytes = h->nlmsg_len - NLMSG_LENGTH(sizeof(*u)), got;
	const void *peer = netlink_attr(u + 1, bytes, UNIX_DIAG_PEER, &got);
	struct net_unix *s = &l->v[l->n++];
	struct unix_diag_vfs vfs = { 0 };
	uint32_t inode = 0;

	if (peer && got >= sizeof(inode))
		memcpy(&inode, peer, sizeof(inode));
	const void *file = netlink_attr(u + 1, bytes, UNIX_DIAG_VFS, &got);

	if (file && got >= sizeof(vfs))
		memcpy(&vfs, file, sizeof(vfs));
	*s = (struct net_unix){ .inode = u->udiag_ino,
		                .peer = inode,
		                .waits = u->udiag_type == SOCK_DGRAM ||
		                         u->udiag_state == STATE_LISTEN,
		                .dev = makedev(vfs.udiag_vfs_dev >> KERNEL_MINOR_BITS,
		                               vfs.udiag_vfs_dev & ((1u << KERNEL_MINOR_BITS) - 1)),
		                .file = vfs.udiag_vfs_ino };
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = ((const struct net_unix *)a)->inode, y = ((const struct net_unix *)b)->inode;

	return x < y ? -1 : x > y;
}

int net_unix_list(struct net_unix **out, size_t *n, struct err *e)
{
	AUTO(fd) int nl = netlink_open(NETLINK_SOCK_DIAG, e);
	AUTO(nl) struct nl_buf b = { 0 };
	struct list l = { 0 };
	struct unix_diag_req q = { .sdiag_family = AF_UNIX,
		                   .udiag_states = ~0U,
		                   .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_VFS };

	*out = NULL;
	*n = 0;
	if (nl < 0)
		return nl;
	netlink_begin(&b, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &q, sizeof(q));
	int r = netlink_talk(nl, &b, take, &l, "list UNIX sockets", e);

	if (r < 0) {
		free(l.v);
		return r;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_inode);
	*out = l.v;
	*n = l.n;
	return 0;
}

const struct net_unix *net_unix_find(const struct net_unix *v, size_t n, uint64_t inode)
{
	struct net_unix key = { .inode = inode };

	return n ? bsearch(&key, v, n, sizeof(*v), by_inode) : NULL;
}

/* ---- what waits in a queue ---- */

#define PEEK_BYTES  4096
#define PASSED_MAX  253 /* descriptors with one message */
#define MESSAGE_MAX 100000

/* Return: 1 there may be more; 0 there is no more; as @fn */
static int take_message(struct msghdr *m, ssize_t got, net_passed_fn fn, void *arg)
{
	int r = got > 0, v[PASSED_MAX];

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > PASSED_MAX)
			continue;
		memcpy(v, CMSG_DATA(c), n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			int taken = r < 0 ? r : fn(arg, v[i]);

			r = taken < 0 ? taken : 1;
			close(v[i]);
		}
	}
	return r;
}

/* Return: as above; -errno */
static int peek(int fd, net_passed_fn fn, void *arg)
{
	char bytes[PEEK_BYTES];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PASSED_MAX * sizeof(int)) + 256];
	struct iovec io = { bytes, sizeof(bytes) };
	struct msghdr m = { .msg_iov = &io,
		            .msg_iovlen = 1,
		            .msg_control = control,
		            .msg_controllen = sizeof(control) };
	ssize_t got = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno == EAGAIN || errno == EINVAL || errno == ENOTCONN ? 0 : -errno;
	return m.msg_flags & MSG_CTRUNC ? -EMSGSIZE : take_message(&m, got, fn, arg);
}

int net_unix_first(int fd, net_passed_fn fn, void *arg)
{
	int off;
	socklen_t n = sizeof(off);

	/* a program that has set an offset would find it moved */
	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, &n) < 0 || off >= 0)
		return -EBUSY;
	int r = peek(fd, fn, arg);

	return r < 0 ? r : 0;
}

int net_unix_passed(int fd, net_passed_fn fn, void *arg)
{
	int old, start = 0, r = 1;
	socklen_t n = sizeof(old);

	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &old, &n) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof(start)) < 0)
		return -errno;
	for (unsigned int i = 0; r > 0; i++)
		r = i < MESSAGE_MAX ? peek(fd, fn, arg) : -EMSGSIZE;
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &old, sizeof(old));
	return r;
}
