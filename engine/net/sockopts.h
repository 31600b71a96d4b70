/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sockopts.h - options and multicast groups of a socket that CRIU does not restore: read, set again. */
#ifndef HAUL_ENGINE_SOCKOPTS_H
#define HAUL_ENGINE_SOCKOPTS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCKOPTS_ROWS        128u /* at most */
#define SOCKOPTS_VALUE_BYTES 64u
#define SOCKOPTS_GROUPS      64u
#define SOCKOPTS_SOURCES     8u

/* An option; @row: of the table in sockopts.c, which both hosts have. */
struct sockopt {
	unsigned int row;
	uint8_t bytes, value[SOCKOPTS_VALUE_BYTES];
};

/* A multicast group that the socket has joined. */
struct sockopts_group {
	char iface[IF_NAMESIZE];
	uint8_t bytes, addr[16]; /* 4 or 16, network order */
	bool exclude; /* from every source but those listed, else from these only */
	size_t n_source;
	uint8_t source[SOCKOPTS_SOURCES][16];
};

struct sockopts {
	int domain, type;
	size_t n, n_group;
	struct sockopt v[SOCKOPTS_ROWS];
	struct sockopts_group group[SOCKOPTS_GROUPS];
	char iface[IF_NAMESIZE]; /* that multicasts are sent by; empty: by route */
	uint8_t from[4]; /* IPv4: the address by which the program has chosen it */
};

/**
 * sockopts_read() - what the socket @fd has that a new one of its kind has not
 * Return: how many options, groups and interfaces; -ENOTSUP a kind without such; -errno
 */
int sockopts_read(int fd, struct sockopts *out);
/** sockopts_iface() - the interface that the option names, which may be missing elsewhere; NULL: it names none */
const char *sockopts_iface(const struct sockopt *o);
/**
 * sockopts_write() - set them on @fd if that is a socket of the same kind
 * @who: for the log, which has a warning for each that cannot be set
 */
void sockopts_write(int fd, const struct sockopts *o, const char *who);

#endif
