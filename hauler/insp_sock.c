// SPDX-License-Identifier: GPL-2.0-or-later
/* insp_sock.c - sockets of the tree: what will become of each, by sock_diag. */
#include "hauler/insp.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DIAG_BYTES 32768
#define NO_PEER    0

static const struct insp_end *find_socket(const struct insp *i, uint64_t inode)
{
	for (size_t k = 0; k < i->n_sockets; k++)
		if (i->sockets[k].inode == inode)
			return &i->sockets[k];
	return NULL;
}

/* ---- netlink ---- */

typedef int (*diag_fn)(struct insp *i, const struct nlmsghdr *h);

static int receive(int nl, struct insp *i, diag_fn fn)
{
	AUTO(mem) char *buf = malloc(DIAG_BYTES);

	for (;;) {
		ssize_t n = buf ? recv(nl, buf, DIAG_BYTES, 0) : -1;

		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n);
		     h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return 0;
			int r = fn(i, h);

			if (r < 0)
				return r;
		}
	}
}

static int diag(struct insp *i, void *req, size_t bytes, diag_fn fn)
{
	AUTO(fd) int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct nlmsghdr h = { .nlmsg_len = (uint32_t)(sizeof(h) + bytes),
		              .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP };
	struct iovec io[2] = { { &h, sizeof(h) }, { req, bytes } };
	struct msghdr m = { .msg_iov = io, .msg_iovlen = 2 };

	if (nl < 0 || sendmsg(nl, &m, 0) < 0)
		return -errno;
	return receive(nl, i, fn);
}

/* ---- UNIX ---- */

static int on_unix(struct insp *i, const struct nlmsghdr *h)
{
	const struct unix_diag_msg *u = NLMSG_DATA(h);
	const struct insp_end *s = find_socket(i, u->udiag_ino);
	int n = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*u)));
	uint32_t peer = NO_PEER;

	if (!s)
		return 0;
	for (struct rtattr *a = (struct rtattr *)(u + 1); RTA_OK(a, n); a = RTA_NEXT(a, n))
		if (a->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(a) >= sizeof(peer))
			memcpy(&peer, RTA_DATA(a), sizeof(peer));
	if (peer == NO_PEER || find_socket(i, peer))
		return 0;
	return finding_add(
	        &i->findings, SEV_BLOCKER, "unix-outside",
	        "close the connection (to journald, syslog, a database, ...) first",
	        "descriptor %d of pid %d is a UNIX socket connected to a process outside "
	        "the tree",
	        s->fd, s->pid);
}

static int look_unix(struct insp *i)
{
	struct unix_diag_req r = { .sdiag_family = AF_UNIX,
		                   .udiag_states = ~0U,
		                   .udiag_show = UDIAG_SHOW_PEER };

	return diag(i, &r, sizeof(r), on_unix);
}

/* ---- TCP ---- */

static int on_tcp(struct insp *i, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	const struct insp_end *s = find_socket(i, m->idiag_inode);

	if (!s)
		return 0;
	if (m->idiag_state == TCP_LISTEN)
		return finding_add(&i->findings, SEV_INFO, "listening", NULL,
		                   "port %u goes on listening at the destination",
		                   ntohs(m->id.idiag_sport));
	i->tcp_open++;
	return 0;
}

static int look_tcp(struct insp *i, uint8_t family)
{
	struct inet_diag_req_v2 r = { .sdiag_family = family,
		                      .sdiag_protocol = IPPROTO_TCP,
		                      .idiag_states = ~0U };

	return diag(i, &r, sizeof(r), on_tcp);
}

int insp_sockets(struct insp *i, struct err *e)
{
	int r = i->n_sockets ? look_unix(i) : 0;

	if (r == 0 && i->n_sockets)
		r = look_tcp(i, AF_INET);
	if (r == 0 && i->n_sockets)
		r = look_tcp(i, AF_INET6);
	if (r < 0) {
		/* a kernel without the diag modules: CRIU will say so if it matters */
		finding_add(&i->findings, SEV_WARNING, "no-diag",
		            "load the modules unix_diag, inet_diag and tcp_diag",
		            "sockets cannot be looked at: %s", strerror(-r));
		return 0;
	}
	if (i->tcp_open)
		finding_add(&i->findings, SEV_WARNING, "tcp-closed",
		            "clients have to connect again, to the destination",
		            "%u open TCP connections will be closed", i->tcp_open);
	(void)e;
	return 0;
}
