/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree.h - seven processes in two rings of tokens; who has which end of what. */
#ifndef TREE_H
#define TREE_H

#include "work.h"

#define NODES      7
#define RINGS      2
#define TOKENS_MAX 64

struct token {
	uint64_t magic;
	uint64_t hops; /* how often it was passed on */
	uint32_t ring;
	uint32_t id;
	uint64_t fill[61];
};

/* One process's place in one ring. */
struct place {
	int rx, tx;
	const char *rx_kind;
	bool rx_counts_bytes; /* FIONREAD tells all bytes that wait, not those of one message */
	uint64_t received, sent;
	struct token held[TOKENS_MAX]; /* received and not passed on */
	unsigned held_first, held_count;
};

/* What a process tells the root at a verification. */
struct answer {
	uint64_t received[RINGS], sent[RINGS], waiting_bytes[RINGS];
	struct report report;
};

struct ring_fds {
	int out[RINGS], in[RINGS];
};

/* tree_ring.c */
extern long ring_tokens;
extern struct place places[RINGS];
void ring_open(struct ring_fds hops[NODES]);
void ring_keep(struct ring_fds hops[NODES], unsigned node);
void ring_inject(void);
void ring_turn(unsigned node);
void ring_answer(struct answer *a);
void ring_compare(const struct answer answers[NODES], struct report *r);

/* tree_parked.c */
void parked_open(unsigned node);
void parked_turn(void);
void parked_verify(struct report *r);
void parked_sabotage(void);

#endif
