// SPDX-License-Identifier: GPL-2.0-or-later
/* wire.c - control messages: a length of 4 bytes in network order, then protobuf. */
#include "transport/msg/wire.h"

#include <stdlib.h>
#include <string.h>

#include "transport/msg/haul.pb-c.h"
#include "transport/transport.h"

#define LENGTH_BYTES 4

/* Memory is allocated as bytes arrive, so that a length alone cannot make us allocate it. */
#define GROW_BYTES     (64u << 10) /* at first; then the buffer doubles */
#define GROW_BYTES_MAX (8u << 20)

int wire_send(struct chan *c, const Haul__Msg *m, uint64_t deadline_us, struct err *e)
{
	size_t n = haul__msg__get_packed_size(m);

	if (n == 0 || n > WIRE_MSG_MAX_BYTES)
		return err_set(e, ERR_BUG, EMSGSIZE, "a message of %zu bytes", n);
	AUTO(mem) uint8_t *buf = malloc(n + LENGTH_BYTES);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a message");
	for (int i = 0; i < LENGTH_BYTES; i++)
		buf[i] = (uint8_t)(n >> (24 - 8 * i));
	haul__msg__pack(m, buf + LENGTH_BYTES);
	struct iovec io = { buf, n + LENGTH_BYTES };

	return chan_write(c, &io, 1, deadline_us, e);
}

/* ---- receiving ---- */

/* The end of the stream is fine between messages, an error within one. */
static int cut_off(int r, struct err *e)
{
	if (r != -EPIPE)
		return r;
	if (e)
		err_clear(e);
	return err_set(e, ERR_PEER, EBADMSG, "a message that ends in the middle");
}

static int read_body(struct chan *c, size_t n, uint8_t **out, uint64_t deadline_us, struct err *e)
{
	AUTO(mem) uint8_t *buf = NULL;

	for (size_t got = 0; got < n;) {
		size_t grow = got < GROW_BYTES ? GROW_BYTES : got;
		size_t most = grow < GROW_BYTES_MAX ? grow : GROW_BYTES_MAX;
		size_t piece = n - got < most ? n - got : most;
		uint8_t *more = realloc(buf, got + piece);

		if (!more)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for a message");
		buf = more;
		int r = chan_read(c, buf + got, piece, deadline_us, e);

		if (r < 0)
			return cut_off(r, e);
		got += piece;
	}
	*out = steal(buf);
	return 0;
}

/*
 * Two bytes on the wire can be a whole struct in memory, so what unpacking may take is
 * bound to what was received: the bytes once more, and a struct for each few of them.
 */
struct budget {
	size_t left;
};

/* 65,536 files of an offer: four bytes of ANSWER each become 56 of memory */
#define BUDGET_BASE_BYTES (4u << 20)
#define BUDGET_PER_BYTE   8u

static void *budget_alloc(void *arg, size_t bytes)
{
	struct budget *b = arg;

	if (bytes > b->left)
		return NULL;
	b->left -= bytes;
	return malloc(bytes);
}

static void budget_free(void *arg, void *p)
{
	(void)arg;
	free(p);
}

static Haul__Msg *unpack(const uint8_t *buf, size_t n)
{
	struct budget b = { .left = BUDGET_BASE_BYTES + BUDGET_PER_BYTE * n };
	ProtobufCAllocator from = { .alloc = budget_alloc,
		                    .free = budget_free,
		                    .allocator_data = &b };
	Haul__Msg *m = haul__msg__unpack(&from, n, buf);

	if (m && m->body_case == HAUL__MSG__BODY__NOT_SET) {
		haul__msg__free_unpacked(m, NULL);
		return NULL;
	}
	return m;
}

int wire_recv(struct chan *c, Haul__Msg **out, uint64_t deadline_us, struct err *e)
{
	uint8_t head[LENGTH_BYTES];
	AUTO(mem) uint8_t *buf = NULL;
	int r = chan_read(c, head, sizeof(head), deadline_us, e);

	if (r < 0)
		return r;
	size_t n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];

	if (n == 0 || n > WIRE_MSG_MAX_BYTES)
		return err_set(e, ERR_PEER, EMSGSIZE, "a message of %zu bytes", n);
	r = read_body(c, n, &buf, deadline_us, e);
	if (r < 0)
		return r;
	*out = unpack(buf, n);
	return *out ? 0 : err_set(e, ERR_PEER, EBADMSG, "a message that cannot be decoded");
}

int wire_copy(ProtobufCBinaryData *to, const void *from, size_t n)
{
	if (!n)
		return 0;
	to->data = malloc(n);
	if (!to->data)
		return -ENOMEM;
	memcpy(to->data, from, n);
	to->len = n;
	return 0;
}
