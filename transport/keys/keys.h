/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.h - keys: who may log in, and the one that this host is known by. */
#ifndef HAUL_TRANSPORT_KEYS_H
#define HAUL_TRANSPORT_KEYS_H

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* Is this the key? @print: "SHA256:..." */
typedef bool (*key_is)(const char *print, const void *arg);

/* ---- authorized.c ---- */

/** key_has_print() - a key_is: @arg is the fingerprint, a text */
bool key_has_print(const char *print, const void *arg);
/**
 * key_authorized() - is there a key for which @is holds in the file at @path (OpenSSH authorized_keys)?
 * Lines with options are left out as a whole: a restriction that we do not know must
 * not be ignored. A file that others may write is not read.
 * @comment: of its line
 */
bool key_authorized(const char *path, key_is is, const void *arg, char *comment, size_t bytes);

/* ---- hostkey.c ---- */

#define KEY_PRINT_BYTES 80

/** key_print() - "SHA256:..." of a public key */
int key_print(ssh_key key, char *out, size_t bytes);
/** key_make_folder() - the folder of @path, if it is not there; nothing above it */
void key_make_folder(const char *path);
/** key_load_host() - the key at @path, made there when there is none */
int key_load_host(ssh_key *out, const char *path, struct err *e);

#endif
