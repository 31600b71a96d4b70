// SPDX-License-Identifier: GPL-2.0-or-later
/* traits.c - what a socket has that cannot move: filters of eBPF, kernel TLS, keys, urgent data, a bound device. */
#include "hauler/inspect/priv.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"

#define NAME_BYTES 16
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

/* CRIU reads a filter as it was given to the kernel, and a program of eBPF cannot be read so. */
static int look_filter(struct inspect *i, const struct inspect_end *end, int fd)
{
	socklen_t n = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) == 0 || errno != EACCES)
		return 0;
	return inspect_say(i, SEV_BLOCKER, "socket-filter",
	                   "use a classic filter (SO_ATTACH_FILTER), or detach it before the move",
	                   "descriptor %d of pid %d is a socket with a filter of eBPF "
	                   "(SO_ATTACH_BPF), which the kernel does not give back",
	                   end->fd, end->pid);
}

/* The kernel keeps the keys of the session to itself; without them the peer would get clear text. */
static int look_ulp(struct inspect *i, const struct inspect_end *end, int fd)
{
	char name[NAME_BYTES + 1] = "";
	socklen_t n = NAME_BYTES;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &n) < 0 || !name[0] ||
	    !strcmp(name, "mptcp")) /* sockets.c names it */
		return 0;
	return inspect_say(
	        i, SEV_BLOCKER, "tcp-ulp",
	        "let the program encrypt by itself (OpenSSL: without SSL_OP_ENABLE_KTLS), "
	        "or end the connection",
	        "descriptor %d of pid %d is a TCP socket whose data the kernel itself "
	        "handles (%s)",
	        end->fd, end->pid, name);
}

static int look_urgent(struct inspect *i, const struct inspect_end *end, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	int protocol = 0;
	socklen_t n = sizeof(protocol);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) < 0 || protocol != IPPROTO_TCP ||
	    poll(&p, 1, 0) <= 0 || !(p.revents & POLLPRI))
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "tcp-urgent",
	        "try again when the program has read it, or --tcp=close",
	        "urgent data (MSG_OOB) waits in descriptor %d of pid %d: while it does, the "
	        "connection cannot move, and the move is undone",
	        end->fd, end->pid);
}

static int add_device(struct inspect *i, const char *name)
{
	for (size_t k = 0; k < i->devices.n; k++)
		if (!strcmp(i->devices.v[k], name))
			return 0;
	if (array_grow(&i->devices.v, i->devices.n, &i->devices.cap, sizeof(*i->devices.v)) < 0 ||
	    !(i->devices.v[i->devices.n] = strdup(name)))
		return -ENOMEM;
	i->devices.n++;
	return 0;
}

static int look_device(struct inspect *i, const struct inspect_end *end, int fd)
{
	char name[IF_NAMESIZE] = "";
	socklen_t n = sizeof(name);

	(void)end;
	return getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &n) == 0 && name[0]
	               ? add_device(i, name)
	               : 0;
}

int inspect_traits(struct inspect *i)
{
	static int (*const looks[])(struct inspect *, const struct inspect_end *,
	                            int) = { look_filter, look_ulp, look_urgent, look_device };
	int r = 0;

	for (size_t k = 0; k < i->sockets.n; k++) {
		const struct inspect_end *end = &i->sockets.v[k];
		AUTO(fd) int fd = procs_copy_fd(end->pid, end->fd);

		for (size_t l = 0; r == 0 && fd >= 0 && l < ARRAY_SIZE(looks); l++)
			r = looks[l](i, end, fd);
		if (r < 0)
			return r;
	}
	return 0;
}

int inspect_keys(struct inspect *i, const struct inspect_end *end, const struct nlmsghdr *h)
{
	int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(sizeof(struct inet_diag_msg));
	struct rtattr *a = (struct rtattr *)((char *)NLMSG_DATA(h) +
	                                     NLMSG_ALIGN(sizeof(struct inet_diag_msg)));

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == INET_DIAG_MD5SIG)
			return inspect_say(
			        i, SEV_BLOCKER, "tcp-md5",
			        "let the program take its keys off before the move, and set them "
			        "again",
			        "descriptor %d of pid %d is a TCP socket that signs its segments "
			        "(TCP_MD5SIG): without the keys its peers would not answer",
			        end->fd, end->pid);
	return 0;
}

void inspect_devices_fini(struct inspect *i)
{
	for (size_t k = 0; k < i->devices.n; k++)
		free(i->devices.v[k]);
	free(i->devices.v);
}
