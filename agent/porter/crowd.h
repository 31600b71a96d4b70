/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crowd.h - who may stay when too many come that have not shown a key: pure. */
#ifndef HAUL_AGENT_PORTER_CROWD_H
#define HAUL_AGENT_PORTER_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* Where a connection comes from: an IPv4 address, or an IPv6 network of 64 bits */
struct origin {
	uint8_t bytes[16];
};

struct crowd_one {
	struct origin from;
	uint64_t since_us;
	bool known; /* a peer with a key has come from there lately */
};

struct crowd_limits {
	unsigned int max; /* in all; at most CROWD_MAX. No address has more than half of them */
	uint64_t
	        grace_us; /* for which one may stay, unless its address has more than the newcomer's; at most 3 times that */
};

#define CROWD_MAX       128
#define CROWD_KNOWN_MAX 256

enum { CROWD_ROOM = -1, CROWD_FULL = -2 };

/** crowd_any() - a random number */
uint16_t crowd_any(void);
/** crowd_origin() - of the peer of socket @fd */
struct origin crowd_origin(int fd);
/**
 * crowd_admit() - a newcomer at @now_us, where the @n of @v are
 * @who: since_us does not matter
 * @any: a random number
 * Return: CROWD_ROOM; CROWD_FULL: refuse it; else the place in @v of the one that goes for it
 */
int crowd_admit(const struct crowd_one *v, unsigned int n, const struct crowd_limits *l,
                const struct crowd_one *who, uint64_t now_us, uint16_t any);

/* Addresses from which a peer with a key has come; the one that was heard of least lately is forgotten. */
struct crowd_known {
	struct crowd_one v[CROWD_KNOWN_MAX];
};

/** crowd_meet() - a peer with a key has come from @from */
void crowd_meet(struct crowd_known *k, const struct origin *from, uint64_t now_us);
/** crowd_knows() - has a peer with a key come from @from lately? */
bool crowd_knows(const struct crowd_known *k, const struct origin *from);

#endif
