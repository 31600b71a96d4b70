/* SPDX-License-Identifier: GPL-2.0-or-later */
/* allow.h - where the configuration lets a key write: fs-allow for trees, files-allow for files. */
#ifndef HAUL_AGENT_ALLOW_H
#define HAUL_AGENT_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

/** allow_clean() - is @path absolute, without empty parts, "." and ".."? */
bool allow_clean(const char *path);
/**
 * allow_dir() - the directory of @list strictly above @path in which @key may write
 * @list: words, separated by blanks: DIR, or FINGERPRINT=DIR for one key
 * @key: as chan_peer() has it: a fingerprint, perhaps a space and a comment; may be NULL
 * Return: bytes of @path that name the directory (0: the root directory); -1: there is none
 */
long allow_dir(const char *list, const char *key, const char *path);

#endif
