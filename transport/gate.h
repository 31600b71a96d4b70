/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gate.h - tickets: who has shown a key once proves it again with one MAC. */
#ifndef HAUL_TRANSPORT_GATE_H
#define HAUL_TRANSPORT_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "transport/preamble.h"

struct chan_server;

/* What the holder of an authorized key gets at its login; sent as these bytes. */
struct ticket {
	uint8_t id[TICKET_ID_BYTES], secret[TICKET_SECRET_BYTES];
};

/* Makes and checks tickets; they are good for a day, for this gate, as long as the key is authorized. */
struct gate {
	uint8_t key[32];
	const struct chan_server *server; /* whose list of keys counts */
	char host_key[PREAMBLE_KEY_MAX + 1];
};

/** gate_open() - a gate of which no ticket exists. @s: borrowed */
int gate_open(struct gate *g, const struct chan_server *s, struct err *e);
/** gate_issue() - @print: "SHA256:..." of a key. Return: false: it is not authorized */
bool gate_issue(const struct gate *g, const char *print, struct ticket *out);
/** gate_admits() - does @preamble have a ticket, and the proof of it for @challenge? */
bool gate_admits(const struct gate *g, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
                 const uint8_t preamble[PREAMBLE_BYTES]);
/** gate_prove() - put the proof of @t for @challenge into @preamble. Return: 0; -EIO */
int gate_prove(const struct ticket *t, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
               uint8_t preamble[PREAMBLE_BYTES], struct err *e);

#endif
