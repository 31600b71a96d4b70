// SPDX-License-Identifier: GPL-2.0-or-later
/* say.c - builds control messages: a kind and its body. */
#include "transport/msg/wire.h"

#include <stddef.h>
#include <string.h>

#include "common/host/journal.h"
#include "transport/msg/haul.pb-c.h"

/* Room for any message, so that one without fields needs no body. */
#define EMPTY_WORDS 16

int wire_say(struct chan *c, int kind, const void *body, uint64_t deadline_us, struct err *e)
{
	union {
		ProtobufCMessage base;
		max_align_t align[EMPTY_WORDS];
	} empty = { 0 };
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(
	        &haul__msg__descriptor, (unsigned int)kind);
	const ProtobufCMessageDescriptor *d = f ? f->descriptor : NULL;
	Haul__Msg msg = HAUL__MSG__INIT;

	if (d && !body && d->sizeof_message <= sizeof(empty)) {
		d->message_init(&empty.base);
		body = &empty;
	}
	if (!d || !body || ((const ProtobufCMessage *)body)->descriptor != d)
		return err_set(e, ERR_BUG, EINVAL, "message %d with the body of another", kind);
	msg.body_case = (Haul__Msg__BodyCase)kind;
	memcpy((char *)&msg + f->offset, &body, sizeof(body));
	return wire_send(c, &msg, deadline_us, e);
}

int wire_say_hello_back(struct chan *c, uint64_t deadline_us, struct err *e)
{
	Haul__Hello h = HAUL__HELLO__INIT;
	char boot[JOURNAL_BOOT_BYTES];

	journal_boot_id(boot);
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT_RESUME;
	h.boot = boot;
	return wire_say(c, HAUL__MSG__BODY_HELLO, &h, deadline_us, e);
}

int wire_pong(struct chan *c, const Haul__Ping *ping, uint64_t deadline_us, struct err *e)
{
	Haul__Pong pong = HAUL__PONG__INIT;

	pong.cookie = ping->cookie;
	return wire_say(c, HAUL__MSG__BODY_PONG, &pong, deadline_us, e);
}
