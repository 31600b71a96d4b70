// SPDX-License-Identifier: GPL-2.0-or-later
/* preamble.c - the 16 bytes before SSH (docs/PROTOCOL.md section 1). */
#include "transport/transport.h"

#include <string.h>

#define PREAMBLE_VERSION 1

static const uint8_t magic[4] = { 'H', 'A', 'U', 'L' };

void preamble_put(uint8_t out[TR_PREAMBLE_BYTES], uint64_t route)
{
	memset(out, 0, TR_PREAMBLE_BYTES);
	memcpy(out, magic, sizeof(magic));
	out[4] = PREAMBLE_VERSION;
	for (int i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(route >> (56 - 8 * i));
}

int preamble_get(const uint8_t in[TR_PREAMBLE_BYTES], uint64_t *route, struct err *e)
{
	if (memcmp(in, magic, sizeof(magic)))
		return err_set(e, ERR_PEER, EPROTO, "not a haul connection");
	if (in[4] != PREAMBLE_VERSION || in[5] || in[6] || in[7])
		return err_set(e, ERR_PEER, EPROTO, "preamble version %u is not known", in[4]);
	*route = 0;
	for (int i = 0; i < 8; i++)
		*route = *route << 8 | in[8 + i];
	return 0;
}
