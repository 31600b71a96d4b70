/* SPDX-License-Identifier: GPL-2.0-or-later */
/* allow.h - where a key may write: fs-allow for directories, files-allow for single files. */
#ifndef HAUL_AGENT_ALLOW_H
#define HAUL_AGENT_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

/** allow_clean() - is @path absolute, without empty parts, "." and ".."? */
bool allow_clean(const char *path);
/** allow_key() - is the fingerprint @word, of @n bytes, that of @key? @key: as allow_dir() has it */
bool allow_key(const char *key, const char *word, size_t n);
/**
 * allow_dir() - the directory of @list strictly above @path in which @key may write
 * @list: words, separated by blanks: DIR, or FINGERPRINT=DIR for one key
 * @key: as chan_peer() has it: a fingerprint, perhaps a space and a comment; may be NULL
 * Return: length of that directory's name in @path (0: the root directory); -1: no such directory
 */
long allow_dir(const char *list, const char *key, const char *path);

#endif
