// SPDX-License-Identifier: GPL-2.0-or-later
/* secret.c - the secret of a migration: compared; as hexadecimal in a journal. */
#include "transport/keys/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool secret_is(const uint8_t secret[SECRET_BYTES], const uint8_t *in, size_t bytes)
{
	uint8_t diff = 0;

	if (bytes != SECRET_BYTES)
		return false;
	for (size_t i = 0; i < bytes; i++)
		diff |= secret[i] ^ in[i];
	return diff == 0;
}

int secret_parse(const char *hex, uint8_t secret[SECRET_BYTES])
{
	if (!hex || strlen(hex) != 2 * SECRET_BYTES ||
	    strspn(hex, "0123456789abcdef") != 2 * SECRET_BYTES)
		return -EBADMSG;
	for (size_t i = 0; i < SECRET_BYTES; i++) {
		unsigned int byte;

		sscanf(hex + 2 * i, "%2x", &byte);
		secret[i] = (uint8_t)byte;
	}
	return 0;
}

void secret_print(const uint8_t secret[SECRET_BYTES], char out[SECRET_TEXT_BYTES])
{
	for (size_t i = 0; i < SECRET_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", secret[i]);
}
