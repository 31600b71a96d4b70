/* SPDX-License-Identifier: GPL-2.0-or-later */
/* preamble.h - what is said before SSH (docs/PROTOCOL.md section 1). */
#ifndef HAUL_TRANSPORT_PREAMBLE_H
#define HAUL_TRANSPORT_PREAMBLE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define PREAMBLE_HEAD_BYTES      8
#define PREAMBLE_CHALLENGE_BYTES 16
#define PREAMBLE_KEY_MAX         2048 /* "TYPE BASE64" */
#define PREAMBLE_GREETING_MAX    (PREAMBLE_HEAD_BYTES + PREAMBLE_CHALLENGE_BYTES + PREAMBLE_KEY_MAX)
#define PREAMBLE_BYTES           64
#define PREAMBLE_PROVEN_BYTES    32 /* before the proof, and covered by it */
#define PREAMBLE_PROOF_BYTES     32
#define TICKET_ID_BYTES          16
#define TICKET_SECRET_BYTES      32

/* What a destination says first, and in place of SSH. */
enum preamble_says { PREAMBLE_GREETING, PREAMBLE_REFUSAL };
enum preamble_reason {
	PREAMBLE_BUSY = 1,
	PREAMBLE_NO_TICKET,
	PREAMBLE_NO_PROCESS, /* the host can make no more */
	PREAMBLE_NO_DESCRIPTOR,
};

enum preamble_wants { PREAMBLE_LOGIN = 1, PREAMBLE_ENTER };

/* What a source says. */
struct preamble {
	enum preamble_wants wants;
	uint64_t route;
	uint8_t ticket[TICKET_ID_BYTES], proof[PREAMBLE_PROOF_BYTES];
};

/** preamble_greet() - Return: bytes used in @out. @host_key: "TYPE BASE64" */
size_t preamble_greet(uint8_t out[PREAMBLE_GREETING_MAX],
                      const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES], const char *host_key);
/** preamble_refuse() - the answer that ends a connection, with a reason */
void preamble_refuse(uint8_t out[PREAMBLE_HEAD_BYTES], enum preamble_reason why);
/** preamble_reason() - of what failed here. @code: of errno */
enum preamble_reason preamble_reason(int code);
/**
 * preamble_head() - the first bytes of what a destination says
 * @value: of a greeting the bytes of the host key, of a refusal the reason
 * Return: 0; -EPROTO when these are not hauld's bytes
 */
int preamble_head(const uint8_t in[PREAMBLE_HEAD_BYTES], enum preamble_says *says,
                  unsigned int *value, struct err *e);
/** preamble_put() - encode @p */
void preamble_put(uint8_t out[PREAMBLE_BYTES], const struct preamble *p);
/** preamble_get() - Return: 0; -EPROTO when these are not our bytes */
int preamble_get(const uint8_t in[PREAMBLE_BYTES], struct preamble *p, struct err *e);

#endif
