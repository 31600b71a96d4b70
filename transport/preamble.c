// SPDX-License-Identifier: GPL-2.0-or-later
/* preamble.c - what both sides say before SSH (docs/PROTOCOL.md section 1): pure. */
#include "transport/preamble.h"

#include <string.h>

#define PREAMBLE_VERSION 2

static const uint8_t magic[4] = { 'H', 'A', 'U', 'L' };

/* ---- of the destination ---- */

static void put_head(uint8_t out[PREAMBLE_HEAD_BYTES], enum preamble_says says, unsigned int value)
{
	memcpy(out, magic, sizeof(magic));
	out[4] = PREAMBLE_VERSION;
	out[5] = (uint8_t)says;
	out[6] = (uint8_t)(value >> 8);
	out[7] = (uint8_t)value;
}

size_t preamble_greet(uint8_t out[PREAMBLE_GREETING_MAX],
                      const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES], const char *host_key)
{
	size_t n = strnlen(host_key, PREAMBLE_KEY_MAX);

	put_head(out, PREAMBLE_GREETING, (unsigned int)n);
	memcpy(out + PREAMBLE_HEAD_BYTES, challenge, PREAMBLE_CHALLENGE_BYTES);
	memcpy(out + PREAMBLE_HEAD_BYTES + PREAMBLE_CHALLENGE_BYTES, host_key, n);
	return PREAMBLE_HEAD_BYTES + PREAMBLE_CHALLENGE_BYTES + n;
}

void preamble_refuse(uint8_t out[PREAMBLE_HEAD_BYTES], enum preamble_reason why)
{
	put_head(out, PREAMBLE_REFUSAL, why);
}

enum preamble_reason preamble_reason(int code)
{
	if (code == EMFILE || code == ENFILE)
		return PREAMBLE_NO_DESCRIPTOR;
	return code == EAGAIN ? PREAMBLE_NO_PROCESS : PREAMBLE_BUSY;
}

int preamble_head(const uint8_t in[PREAMBLE_HEAD_BYTES], enum preamble_says *says,
                  unsigned int *value, struct err *e)
{
	*value = (unsigned int)in[6] << 8 | in[7];
	*says = (enum preamble_says)in[5];
	if (memcmp(in, magic, sizeof(magic)))
		return err_set(e, ERR_PEER, EPROTO, "it is not hauld");
	if (in[4] != PREAMBLE_VERSION)
		return err_set(e, ERR_PEER, EPROTO, "preamble version %u is not known", in[4]);
	if (in[5] > PREAMBLE_REFUSAL || (in[5] == PREAMBLE_GREETING && *value > PREAMBLE_KEY_MAX))
		return err_set(e, ERR_PEER, EPROTO, "a greeting that is none");
	return 0;
}

/* ---- of the source ---- */

void preamble_put(uint8_t out[PREAMBLE_BYTES], const struct preamble *p)
{
	memset(out, 0, PREAMBLE_BYTES);
	memcpy(out, magic, sizeof(magic));
	out[4] = PREAMBLE_VERSION;
	out[5] = (uint8_t)p->wants;
	for (int i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(p->route >> (56 - 8 * i));
	memcpy(out + 16, p->ticket, sizeof(p->ticket));
	memcpy(out + PREAMBLE_PROVEN_BYTES, p->proof, sizeof(p->proof));
}

int preamble_get(const uint8_t in[PREAMBLE_BYTES], struct preamble *p, struct err *e)
{
	if (memcmp(in, magic, sizeof(magic)))
		return err_set(e, ERR_PEER, EPROTO, "not a haul connection");
	if (in[4] != PREAMBLE_VERSION || in[6] || in[7])
		return err_set(e, ERR_PEER, EPROTO, "preamble version %u is not known", in[4]);
	if (in[5] != PREAMBLE_LOGIN && in[5] != PREAMBLE_ENTER)
		return err_set(e, ERR_PEER, EPROTO, "a preamble of kind %u", in[5]);
	*p = (struct preamble){ .wants = (enum preamble_wants)in[5] };
	for (int i = 0; i < 8; i++)
		p->route = p->route << 8 | in[8 + i];
	memcpy(p->ticket, in + 16, sizeof(p->ticket));
	memcpy(p->proof, in + PREAMBLE_PROVEN_BYTES, sizeof(p->proof));
	return 0;
}
