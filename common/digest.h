/* SPDX-License-Identifier: GPL-2.0-or-later */
/* digest.h - XXH128 of the beginning of a file, with a seed: no file can be made to collide. */
#ifndef HAUL_DIGEST_H
#define HAUL_DIGEST_H

#include <stdint.h>

#define DIGEST_BYTES 16

/**
 * digest_file() - digest the first @bytes bytes of the file open at @fd
 * Return: 0; -ENODATA the file is shorter; -errno
 */
int digest_file(int fd, uint64_t bytes, uint64_t seed, uint8_t out[DIGEST_BYTES]);

#endif
