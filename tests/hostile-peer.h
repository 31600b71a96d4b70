/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostile-peer.h - a client of its own for programs that break the protocol: hostile, hostile-fs. */
#ifndef HAUL_TESTS_HOSTILE_PEER_H
#define HAUL_TESTS_HOSTILE_PEER_H

#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"
#include "transport/transport.h"

#define LIMIT_MS 15000
#define PID_FREE 31999

extern const char *host;
extern unsigned int tried, failed;

/** verdict() - one line, and counted */
void verdict(bool ok, const char *what, const char *said);

struct talk {
	struct chan *ch;
	uint64_t route;
	uint8_t secret[32];
	char said[1024]; /* how it ended */
};

enum state { HELLO, OFFER, START, ROUNDS, N_STATES };
extern const char *const state_names[N_STATES];

int dial(struct chan **out, uint64_t route, struct err *e);
bool say(struct chan *ch, Haul__Msg *m);
Haul__Msg *hear(struct chan *ch);
bool hears(struct chan *ch, int kind);
/** listen_to_end() - until the other side has nothing to say any more: t->said */
void listen_to_end(struct talk *t);
bool say_hello(struct chan *ch, unsigned int version, unsigned int compat, Haul__Role role,
               const uint8_t *secret, unsigned int streams);
/** say_offer() - of one process; @more adds to it, may be NULL */
bool say_offer(struct chan *ch, unsigned int pid, void (*more)(Haul__Offer *o));
bool say_start(struct chan *ch, unsigned int streams);
/** reach() - a migration of our own, up to @s */
bool reach(struct talk *t, enum state s, void (*more)(Haul__Offer *o));
/** stream() - a further connection of it */
struct chan *stream(const struct talk *t, Haul__Role role);

#endif
