/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree_ring.c - numbered tokens go round both ways; none is lost, doubled or changed. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN_MAGIC   0x746f6b656eULL
#define TOKENS_A_TURN 2 /* few, so that the others wait in pipes and sockets */

_Static_assert(sizeof(struct token) == 512, "a token is passed in one piece");

long ring_tokens = 24;
struct place places[RINGS];

static const struct kind {
	const char *name;
	int type; /* 0: a pipe */
} kinds[] = {
	{ "pipe", 0 },
	{ "stream", SOCK_STREAM },
	{ "dgram", SOCK_DGRAM },
	{ "seqpacket", SOCK_SEQPACKET },
};

static const struct kind *kind_of(unsigned hop)
{
	return &kinds[hop % ARRAY_SIZE(kinds)];
}

/**
 * ring_open() - connect neighbours, before the first fork
 * @hops: out: hop i joins node i and node i + 1; ring 0 goes up, ring 1 goes down
 */
void ring_open(struct ring_fds hops[NODES])
{
	for (unsigned i = 0; i < NODES; i++) {
		int a[2], b[2], type = kind_of(i)->type;

		if (type ? socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, a)
		         : pipe2(a, O_NONBLOCK) || pipe2(b, O_NONBLOCK))
			work_die("cannot connect: %s", strerror(errno));
		if (type)
			hops[i] = (struct ring_fds){ { a[0], a[1] }, { a[1], a[0] } };
		else
			hops[i] = (struct ring_fds){ { a[1], b[1] }, { a[0], b[0] } };
	}
}

static bool is_used(int fd)
{
	for (int ring = 0; ring < RINGS; ring++) {
		if (places[ring].rx == fd || places[ring].tx == fd)
			return true;
	}
	return false;
}

/* Keeps the ends that belong to @node, closes the others. */
void ring_keep(struct ring_fds hops[NODES], unsigned node)
{
	unsigned before = (node + NODES - 1) % NODES;

	places[0].rx = hops[before].in[0];
	places[0].tx = hops[node].out[0];
	places[0].rx_kind = kind_of(before)->name;
	places[0].rx_counts_bytes = kind_of(before)->type != SOCK_DGRAM;
	places[1].rx = hops[node].in[1];
	places[1].tx = hops[before].out[1];
	places[1].rx_kind = kind_of(node)->name;
	places[1].rx_counts_bytes = kind_of(node)->type != SOCK_DGRAM;
	for (unsigned i = 0; i < NODES; i++) {
		for (int ring = 0; ring < RINGS; ring++) {
			if (!is_used(hops[i].out[ring]))
				close(hops[i].out[ring]);
			if (!is_used(hops[i].in[ring]))
				close(hops[i].in[ring]);
		}
	}
}

static void make_token(struct token *t, uint32_t ring, uint32_t id, uint64_t hops)
{
	*t = (struct token){ .magic = TOKEN_MAGIC, .hops = hops, .ring = ring, .id = id };
	for (size_t k = 0; k < ARRAY_SIZE(t->fill); k++)
		t->fill[k] = rnd_mix(hops << 16 ^ (uint64_t)ring << 8 ^ id ^ k << 56);
}

static void hold(struct place *p, const struct token *t)
{
	p->held[(p->held_first + p->held_count++) % TOKENS_MAX] = *t;
}

/* The root makes all tokens. */
void ring_inject(void)
{
	struct token t;

	for (uint32_t ring = 0; ring < RINGS; ring++) {
		for (uint32_t id = 0; id < (uint32_t)ring_tokens; id++) {
			make_token(&t, ring, id, 0);
			hold(&places[ring], &t);
		}
	}
}

/* Order is kept everywhere, so the number of tokens received tells which one must be next. */
static void receive(struct place *p, uint32_t ring, unsigned distance)
{
	uint32_t id = (uint32_t)(p->received % (uint64_t)ring_tokens);
	uint64_t hops = distance - 1 + NODES * (p->received / (uint64_t)ring_tokens);
	struct token t, expected;
	ssize_t n = read(p->rx, &t, sizeof(t));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof(t)) {
		work_fail("ring %u by %s: read gave %zd: %s", ring, p->rx_kind, n,
		          n < 0 ? strerror(errno) : "short");
		return;
	}
	make_token(&expected, ring, id, hops);
	if (memcmp(&t, &expected, sizeof(t))) {
		work_fail("ring %u by %s: got token %u hop %lu, expected token %u hop %lu%s", ring,
		          p->rx_kind, t.id, t.hops, id, hops,
		          t.id == id && t.hops == hops ? ", content changed" : "");
		return;
	}
	p->received++;
	make_token(&t, ring, id, hops + 1);
	hold(p, &t);
	work_count(1);
}

static void send_held(struct place *p)
{
	while (p->held_count) {
		ssize_t n = write(p->tx, &p->held[p->held_first], sizeof(struct token));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n != (ssize_t)sizeof(struct token)) {
			work_fail("passing on: write gave %zd: %s", n, strerror(errno));
			return;
		}
		p->sent++;
		p->held_first = (p->held_first + 1) % TOKENS_MAX;
		p->held_count--;
	}
}

void ring_turn(unsigned node)
{
	for (uint32_t ring = 0; ring < RINGS; ring++) {
		struct place *p = &places[ring];
		unsigned up = node ? node : NODES;

		for (int n = 0; n < TOKENS_A_TURN && work_may_write(); n++)
			receive(p, ring, ring && node ? NODES - node : up);
		send_held(p);
	}
}

void ring_answer(struct answer *a)
{
	for (int ring = 0; ring < RINGS; ring++) {
		int bytes = 0;

		ioctl(places[ring].rx, FIONREAD, &bytes);
		a->received[ring] = places[ring].received;
		a->sent[ring] = places[ring].sent;
		a->waiting_bytes[ring] = (uint64_t)bytes;
	}
}

/**
 * ring_compare() - with everyone stopped: is exactly what is under way in the queues?
 * @answers: of all processes
 */
void ring_compare(const struct answer answers[NODES], struct report *r)
{
	uint64_t under_way = 0;

	for (unsigned node = 0; node < NODES; node++) {
		for (unsigned ring = 0; ring < RINGS; ring++) {
			unsigned from = (node + (ring ? 1 : NODES - 1)) % NODES;
			const struct kind *kind = kind_of(ring ? node : from);
			uint64_t tokens = answers[from].sent[ring] - answers[node].received[ring];
			uint64_t bytes = tokens * sizeof(struct token);

			if (kind->type == SOCK_DGRAM && bytes)
				bytes = sizeof(struct token);
			if (tokens > (uint64_t)ring_tokens ||
			    bytes != answers[node].waiting_bytes[ring])
				rep_error(r,
				          "%s from node %u to %u: %lu tokens under way, "
				          "%lu bytes wait",
				          kind->name, from, node, tokens,
				          answers[node].waiting_bytes[ring]);
			under_way += tokens;
		}
	}
	rep_extra(r, ",\"tokens_under_way\":%lu", under_way);
}
