/* SPDX-License-Identifier: GPL-2.0-or-later */
/* secret.h - the secret of a migration: compared; as hexadecimal in a journal. */
#ifndef HAUL_SECRET_H
#define HAUL_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_BYTES      32
#define SECRET_TEXT_BYTES (2 * SECRET_BYTES + 1)

/** secret_is() - does @in match? Takes the same time wherever they differ */
bool secret_is(const uint8_t secret[SECRET_BYTES], const uint8_t *in, size_t bytes);
/** secret_parse() - from the journal's hexadecimal. Return: 0; -EBADMSG */
int secret_parse(const char *hex, uint8_t secret[SECRET_BYTES]);
/** secret_print() - as hexadecimal */
void secret_print(const uint8_t secret[SECRET_BYTES], char out[SECRET_TEXT_BYTES]);

#endif
