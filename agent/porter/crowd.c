// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * crowd.c - who may stay when too many come that have not shown a key. Those from addresses that are known
 * go first, and the address that has most of them gives way to others at once. Where that does not help (a flood from the newcomer's own address, or from
 * very many), the oldest goes when it has had its time, and newcomers are refused until then: those who
 * try again come through in proportion to their tries, as with MaxStartups of sshd.
 */
#include "agent/porter/crowd.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

uint16_t crowd_any(void)
{
	uint16_t any = 0;

	if (getrandom(&any, sizeof(any), GRND_NONBLOCK) != sizeof(any))
		return 0;
	return any;
}

struct origin crowd_origin(int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof(a);
	struct origin o = { 0 };

	if (getpeername(fd, (struct sockaddr *)&a, &n) < 0)
		return o;
	const struct in6_addr *v6 = &((struct sockaddr_in6 *)&a)->sin6_addr;

	if (a.ss_family == AF_INET)
		memcpy(o.bytes + 12, &((struct sockaddr_in *)&a)->sin_addr, 4);
	else if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6))
		memcpy(o.bytes + 12, v6->s6_addr + 12, 4);
	else if (a.ss_family == AF_INET6)
		memcpy(o.bytes, v6->s6_addr, 8); /* a host has a whole /64 to itself */
	return o;
}

static bool same(const struct origin *a, const struct origin *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static unsigned int count(const struct crowd_one *v, unsigned int n, const struct origin *from)
{
	unsigned int c = 0;

	for (unsigned int i = 0; i < n; i++)
		c += same(&v[i].from, from);
	return c;
}

/* The oldest of the address that has most of them; *most: how many it has */
static unsigned int oldest_of_most(const struct crowd_one *v, unsigned int n, unsigned int *most)
{
	unsigned int at = 0;

	*most = 0;
	for (unsigned int i = 0; i < n; i++) {
		unsigned int c = count(v, n, &v[i].from);

		if (c > *most || (c == *most && v[i].since_us < v[at].since_us)) {
			*most = c;
			at = i;
		}
	}
	return at;
}

static unsigned int oldest_of(const struct crowd_one *v, unsigned int n, const struct origin *from)
{
	unsigned int at = n;

	for (unsigned int i = 0; i < n; i++)
		if (same(&v[i].from, from) && (at == n || v[i].since_us < v[at].since_us))
			at = i;
	return at;
}

/* Return: @n: there is none */
static unsigned int oldest_unknown(const struct crowd_one *v, unsigned int n)
{
	unsigned int at = n;

	for (unsigned int i = 0; i < n; i++)
		if (!v[i].known && (at == n || v[i].since_us < v[at].since_us))
			at = i;
	return at;
}

int crowd_admit(const struct crowd_one *v, unsigned int n, const struct crowd_limits *l,
                const struct crowd_one *who, uint64_t now_us, uint16_t any)
{
	unsigned int share = l->max / 2, mine = count(v, n, &who->from), most, at;

	if (mine < share && n < l->max)
		return CROWD_ROOM;
	if (mine >= share) {
		at = oldest_of(v, n, &who->from);
	} else {
		at = who->known ? oldest_unknown(v, n) : n;
		if (at < n)
			return (int)at;
		at = oldest_of_most(v, n, &most);
		if (most > mine + 1)
			return (int)at;
	}
	/* at random: else who comes at the right moments would take every place */
	uint64_t grace_us = l->grace_us + l->grace_us * any / 32768;

	return now_us - v[at].since_us >= grace_us ? (int)at : CROWD_FULL;
}

void crowd_meet(struct crowd_known *k, const struct origin *from, uint64_t now_us)
{
	unsigned int at = oldest_of(k->v, CROWD_KNOWN_MAX, from);

	if (at == CROWD_KNOWN_MAX) {
		at = 0;
		for (unsigned int i = 1; i < CROWD_KNOWN_MAX;
		     i++) /* places that are free are at 0 */
			if (k->v[i].since_us < k->v[at].since_us)
				at = i;
	}
	k->v[at] = (struct crowd_one){ *from, now_us, true };
}

bool crowd_knows(const struct crowd_known *k, const struct origin *from)
{
	unsigned int at = oldest_of(k->v, CROWD_KNOWN_MAX, from);

	return at < CROWD_KNOWN_MAX && k->v[at].known;
}
