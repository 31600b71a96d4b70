// SPDX-License-Identifier: GPL-2.0-or-later
/* wire.c - control messages: a length of 4 bytes in network order, then protobuf. */
#include "transport/transport.h"

#include <stdlib.h>

#include "transport/haul.pb-c.h"

/* Memory is taken as bytes arrive, so that a length alone cannot make us take it. */
#define GROW_BYTES (1u << 20)

int wire_send(struct chan *c, const Haul__Msg *m, uint64_t deadline_us, struct err *e)
{
	size_t n = haul__msg__get_packed_size(m);

	if (n > WIRE_MSG_MAX_BYTES)
		return err_set(e, ERR_BUG, EMSGSIZE, "a message of %zu bytes", n);
	AUTO(mem) uint8_t *buf = malloc(n + 4);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a message");
	for (int i = 0; i < 4; i++)
		buf[i] = (uint8_t)(n >> (24 - 8 * i));
	haul__msg__pack(m, buf + 4);
	struct iovec io = { buf, n + 4 };

	return chan_write(c, &io, 1, deadline_us, e);
}

static int read_body(struct chan *c, size_t n, uint8_t **out, uint64_t deadline_us, struct err *e)
{
	AUTO(mem) uint8_t *buf = NULL;

	for (size_t got = 0; got < n || !buf;) {
		size_t piece = n - got < GROW_BYTES ? n - got : GROW_BYTES;
		uint8_t *more = realloc(buf, got + piece + 1);

		if (!more)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for a message");
		buf = more;
		int r = chan_read(c, buf + got, piece, deadline_us, e);

		if (r < 0)
			return r;
		got += piece;
	}
	*out = steal(buf);
	return 0;
}

int wire_recv(struct chan *c, Haul__Msg **out, uint64_t deadline_us, struct err *e)
{
	uint8_t head[4];
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
	*out = haul__msg__unpack(NULL, n, buf);
	if (!*out || (*out)->body_case == HAUL__MSG__BODY__NOT_SET) {
		if (*out)
			haul__msg__free_unpacked(*out, NULL);
		*out = NULL;
		return err_set(e, ERR_PEER, EBADMSG, "a message that makes no sense");
	}
	return 0;
}
