/* SPDX-License-Identifier: GPL-2.0-or-later */
/* netlink.h - netlink messages: build, send, read the answers. For engine/net only. */
#ifndef HAUL_ENGINE_NL_H
#define HAUL_ENGINE_NL_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

/* Messages one after the other, as they are sent. */
struct nl_buf {
	uint8_t *data;
	size_t bytes, cap;
	size_t msg; /* where the last message begins */
	bool failed; /* no memory: netlink_talk() reports it */
};

/** netlink_open() - a socket of @protocol, bound, with extended errors. Return: fd; -errno */
int netlink_open(int protocol, struct err *e);
/** netlink_begin() - a new message with @head behind its header */
void netlink_begin(struct nl_buf *b, uint16_t type, uint16_t flags, const void *head, size_t bytes);
/** netlink_put() - append an attribute of @bytes */
void netlink_put(struct nl_buf *b, uint16_t type, const void *data, size_t bytes);
/** netlink_put_u32() - append a number, in network order */
void netlink_put_u32(struct nl_buf *b, uint16_t type, uint32_t value); /* in network order */
void netlink_put_str(struct nl_buf *b, uint16_t type, const char *text);
/** netlink_nest() - Return: for netlink_end() */
size_t netlink_nest(struct nl_buf *b, uint16_t type);
/** netlink_end() - the nested attribute that began at @nest is complete */
void netlink_end(struct nl_buf *b, size_t nest);
void netlink_fini(struct nl_buf *b);

static inline void auto_nl(struct nl_buf *b)
{
	netlink_fini(b);
}

/**
 * netlink_talk() - send all of @b and take the answers until one says how it went
 * @fn: may be NULL; for each message that is neither an error nor the end; < 0 ends it
 * The last message of @b has to ask for an acknowledgement or a dump.
 * Return: 0; -errno, of the first message that was refused
 */
typedef int (*nl_fn)(void *arg, const struct nlmsghdr *h);
int netlink_talk(int fd, struct nl_buf *b, nl_fn fn, void *arg, const char *what, struct err *e);

/** netlink_attr() - attribute @type among @bytes at @at; NULL: not there. *n: its length */
const void *netlink_attr(const void *at, size_t bytes, uint16_t type, size_t *n);

#endif
