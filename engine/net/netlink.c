// SPDX-License-Identifier: GPL-2.0-or-later
/* netlink.c - netlink messages: build, send, read the answers. */
#include "engine/net/netlink.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define RECV_BYTES 65536
#define SOCK_BYTES (4 << 20)
#define LIMIT_S    5

int netlink_open(int protocol, struct err *e)
{
	AUTO(fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	struct sockaddr_nl me = { .nl_family = AF_NETLINK };
	struct timeval limit = { .tv_sec = LIMIT_S };
	int one = 1, bytes = SOCK_BYTES;

	if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof(me)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return err_sys(e, "netlink socket");
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	/* a batch is one datagram */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	return steal_fd(&fd);
}

/* Room for @bytes more, aligned; NULL after a failure. */
static void *grow(struct nl_buf *b, size_t bytes)
{
	size_t want = b->bytes + NLMSG_ALIGN(bytes);

	if (b->failed)
		return NULL;
	if (want > b->cap) {
		size_t cap = want * 2 > 4096 ? want * 2 : 4096;
		uint8_t *p = realloc(b->data, cap);

		b->failed = !p;
		if (!p)
			return NULL;
		b->data = p;
		b->cap = cap;
	}
	void *at = b->data + b->bytes;

	memset(at, 0, NLMSG_ALIGN(bytes));
	b->bytes = want;
	return at;
}

static struct nlmsghdr *last(const struct nl_buf *b)
{
	return (struct nlmsghdr *)(b->data + b->msg);
}

void netlink_begin(struct nl_buf *b, uint16_t type, uint16_t flags, const void *head, size_t bytes)
{
	size_t at = b->bytes;
	struct nlmsghdr *h = grow(b, NLMSG_HDRLEN + bytes);

	if (!h)
		return;
	b->msg = at;
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = (uint32_t)at + 1;
	memcpy(NLMSG_DATA(h), head, bytes);
	h->nlmsg_len = (uint32_t)(b->bytes - at);
}

void netlink_put(struct nl_buf *b, uint16_t type, const void *data, size_t bytes)
{
	struct nlattr *a = grow(b, NLA_HDRLEN + bytes);

	if (!a)
		return;
	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + bytes);
	if (bytes)
		memcpy((uint8_t *)a + NLA_HDRLEN, data, bytes);
	last(b)->nlmsg_len = (uint32_t)(b->bytes - b->msg);
}

void netlink_put_u32(struct nl_buf *b, uint16_t type, uint32_t value)
{
	uint32_t v = htonl(value);

	netlink_put(b, type, &v, sizeof(v));
}

void netlink_put_str(struct nl_buf *b, uint16_t type, const char *text)
{
	netlink_put(b, type, text, strlen(text) + 1);
}

size_t netlink_nest(struct nl_buf *b, uint16_t type)
{
	size_t at = b->bytes;

	netlink_put(b, type | NLA_F_NESTED, NULL, 0);
	return at;
}

void netlink_end(struct nl_buf *b, size_t nest)
{
	if (!b->failed)
		((struct nlattr *)(b->data + nest))->nla_len = (uint16_t)(b->bytes - nest);
}

void netlink_fini(struct nl_buf *b)
{
	free(b->data);
	*b = (struct nl_buf){ 0 };
}

static int refused(const struct nlmsghdr *h, int code, const char *what, struct err *e)
{
	size_t n = 0, skip = NLMSG_LENGTH(sizeof(struct nlmsgerr));
	const char *text = NULL;

	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && h->nlmsg_len > skip)
		text = netlink_attr((const uint8_t *)h + skip, h->nlmsg_len - skip,
		                    NLMSGERR_ATTR_MSG, &n);
	return err_set(e, ERR_SYS, -code, "%s: %s%s%.*s", what, strerror(-code), text ? ": " : "",
	               text ? (int)strnlen(text, n) : 0, text ? text : "");
}

/* Return: 1 it is complete, 0 more comes, -errno */
static int take(const struct nlmsghdr *h, uint32_t last_seq, nl_fn fn, void *arg, const char *what,
                struct err *e)
{
	int code = 0;

	if (h->nlmsg_type == NLMSG_DONE)
		return 1;
	if (h->nlmsg_type == NLMSG_ERROR) {
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
			return err_set(e, ERR_SYS, EPROTO, "%s: the answer is too short", what);
		memcpy(&code, NLMSG_DATA(h), sizeof(code));
		if (code < 0)
			return refused(h, code, what, e);
		return h->nlmsg_seq == last_seq;
	}
	return fn ? fn(arg, h) : 0;
}

/* The last message that is answered: a batch ends with one that is not. */
static uint32_t last_asked(const struct nl_buf *b)
{
	uint32_t seq = 0, n = (uint32_t)b->bytes;

	for (const struct nlmsghdr *h = (const struct nlmsghdr *)b->data; NLMSG_OK(h, n);
	     h = NLMSG_NEXT(h, n))
		if (h->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP))
			seq = h->nlmsg_seq;
	return seq;
}

int netlink_talk(int fd, struct nl_buf *b, nl_fn fn, void *arg, const char *what, struct err *e)
{
	AUTO(mem) uint8_t *in = malloc(RECV_BYTES);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int r = 0;

	if (!in || b->failed)
		return err_set(e, ERR_SYS, ENOMEM, "%s: no memory", what);
	uint32_t last_seq = last_asked(b);

	/* answers to an earlier request that was given up */
	while (recv(fd, in, RECV_BYTES, MSG_DONTWAIT) > 0)
		;
	if (sendto(fd, b->data, b->bytes, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_sys(e, "%s", what);
	while (r == 0) {
		ssize_t got = recv(fd, in, RECV_BYTES, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_sys(e, "%s: no answer", what);
		size_t n = (size_t)got;

		for (const struct nlmsghdr *h = (const struct nlmsghdr *)in;
		     r == 0 && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			r = take(h, last_seq, fn, arg, what, e);
	}
	return r < 0 ? r : 0;
}

const void *netlink_attr(const void *at, size_t bytes, uint16_t type, size_t *n)
{
	const uint8_t *p = at;

	while (bytes >= NLA_HDRLEN) {
		struct nlattr a;

		memcpy(&a, p, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > bytes)
			return NULL;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			*n = a.nla_len - (size_t)NLA_HDRLEN;
			return p + NLA_HDRLEN;
		}
		size_t step = (size_t)NLA_ALIGN(a.nla_len);

		step = step < bytes ? step : bytes;
		p += step;
		bytes -= step;
	}
	return NULL;
}
