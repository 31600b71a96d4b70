/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wire.h - control messages, haul.proto: sent and received, and built from a kind and a body. */
#ifndef HAUL_TRANSPORT_WIRE_H
#define HAUL_TRANSPORT_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct chan;
struct ProtobufCBinaryData;

struct Haul__Msg;
#define WIRE_MSG_MAX_BYTES (64u << 20)

/* Of HELLO. 2: PLACED, for which the source waits. */
#define PROTOCOL_VERSION 2
#define PROTOCOL_COMPAT  2 /* the oldest version that we understand */
#define PROTOCOL_COMPAT_RESUME                                                                     \
	1 /* the same for later connections: a host may be upgraded meanwhile */

/** wire_send() - length-prefixed protobuf */
int wire_send(struct chan *c, const struct Haul__Msg *m, uint64_t deadline_us, struct err *e);
/** wire_copy() - give a field of a message its own copy of @n bytes. Return: 0; -ENOMEM */
int wire_copy(struct ProtobufCBinaryData *to, const void *from, size_t n);
/**
 * wire_say() - send one control message
 * @kind: HAUL__MSG__BODY_...
 * @body: the message of that kind, borrowed; NULL sends one without fields
 * Return: 0; -errno as chan_write(); -EINVAL when @body is a message of another kind
 */
int wire_say(struct chan *c, int kind, const void *body, uint64_t deadline_us, struct err *e);
/** wire_say_hello_back() - the destination's HELLO on a further connection of a migration */
int wire_say_hello_back(struct chan *c, uint64_t deadline_us, struct err *e);
struct Haul__Ping;
/** wire_pong() - answer @ping */
int wire_pong(struct chan *c, const struct Haul__Ping *ping, uint64_t deadline_us, struct err *e);
/**
 * wire_recv() - next message; the caller frees with haul__msg__free_unpacked
 * An ABORT from the peer is returned like any other message.
 */
int wire_recv(struct chan *c, struct Haul__Msg **out, uint64_t deadline_us, struct err *e);

#endif
