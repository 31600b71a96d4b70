/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree_parked.c - data that sits unread in a process's own pipe and sockets for long. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_ROOM    (256 * 1024)
#define REFILL_TURNS 1500
#define PART_BYTES   13000

static unsigned me;
static uint64_t generation;
static unsigned turns;

/*
 * Lengths of the pieces that are written; message kinds must keep their borders. No empty message:
 * CRIU takes one for the end of the queue.
 */
static const size_t whole[] = { PART_BYTES, 1, PART_BYTES, 4096, PART_BYTES, 7777 };
static const size_t messages[] = { 1, 600, 9000, 2, 3, 4096 };

static struct store {
	const char *name;
	int type; /* 0: a pipe */
	const size_t *pieces;
	size_t nr_pieces;
	int rx, tx;
} stores[] = {
	{ "parked pipe", 0, whole, ARRAY_SIZE(whole), -1, -1 },
	{ "parked stream", SOCK_STREAM, whole, ARRAY_SIZE(whole), -1, -1 },
	{ "parked dgram", SOCK_DGRAM, messages, ARRAY_SIZE(messages), -1, -1 },
	{ "parked seqpacket", SOCK_SEQPACKET, messages, ARRAY_SIZE(messages) - 3, -1, -1 },
};

static void make_piece(unsigned char *buf, size_t store, size_t piece, size_t bytes)
{
	uint64_t seed = generation << 16 ^ (uint64_t)me << 12 ^ store << 8 ^ piece;

	for (size_t k = 0; k < bytes; k++)
		buf[k] = (unsigned char)rnd_mix(seed ^ (k / 8) << 40) + (unsigned char)k;
}

static void fill(size_t i)
{
	unsigned char buf[PART_BYTES];
	struct store *s = &stores[i];

	for (size_t piece = 0; piece < s->nr_pieces; piece++) {
		make_piece(buf, i, piece, s->pieces[piece]);
		if (write(s->tx, buf, s->pieces[piece]) != (ssize_t)s->pieces[piece])
			work_fail("%s: cannot write piece %zu: %s", s->name, piece,
			          strerror(errno));
	}
}

/* Streams give pieces in parts, messages come whole. */
static size_t take(struct store *s, unsigned char *buf, size_t bytes)
{
	size_t got = 0;

	do {
		ssize_t n = read(s->rx, buf + got,
		                 s->type > SOCK_STREAM ? PART_BYTES : bytes - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return got;
		got += (size_t)n;
	} while (got < bytes && s->type <= SOCK_STREAM);
	return got;
}

static void drain(size_t i, struct report *r)
{
	unsigned char buf[PART_BYTES], expected[PART_BYTES];
	struct store *s = &stores[i];

	for (size_t piece = 0; piece < s->nr_pieces; piece++) {
		size_t got;

		make_piece(expected, i, piece, s->pieces[piece]);
		got = take(s, buf, s->pieces[piece]);
		if (got != s->pieces[piece] || memcmp(buf, expected, got))
			rep_error(r, "%s: piece %zu has %zu of %zu bytes, content %s", s->name,
			          piece, got, s->pieces[piece],
			          memcmp(buf, expected, got) ? "wrong" : "right");
	}
	if (read(s->rx, buf, 1) >= 0 || errno != EAGAIN)
		rep_error(r, "%s: more than was written", s->name);
}

void parked_open(unsigned node)
{
	int fd[2];

	me = node;
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
		struct store *s = &stores[i];

		if (s->type ? socketpair(AF_UNIX, s->type | SOCK_NONBLOCK, 0, fd)
		            : pipe2(fd, O_NONBLOCK))
			work_die("%s: %s", s->name, strerror(errno));
		s->rx = fd[0];
		s->tx = fd[1];
		if (!s->type)
			fcntl(s->tx, F_SETPIPE_SZ, PIPE_ROOM);
		fill(i);
	}
}

static void refill(struct report *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++)
		drain(i, r);
	if (fcntl(stores[0].tx, F_GETPIPE_SZ) != PIPE_ROOM)
		rep_error(r, "the pipe's size is %d", fcntl(stores[0].tx, F_GETPIPE_SZ));
	generation++;
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++)
		fill(i);
	turns = 0;
}

void parked_turn(void)
{
	struct report r = { 0 };

	if (++turns < REFILL_TURNS)
		return;
	refill(&r);
	if (r.errors)
		work_fail("in passing: %s", r.detail);
}

void parked_verify(struct report *r)
{
	refill(r);
}

/* Loses one byte of the stream. */
void parked_sabotage(void)
{
	char c;

	if (read(stores[1].rx, &c, 1) != 1)
		work_fail("nothing to lose");
}
