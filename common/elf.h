/* SPDX-License-Identifier: GPL-2.0-or-later */
/* elf.h - the GNU build-id of a file, to compare programs on two hosts. */
#ifndef HAUL_ELF_H
#define HAUL_ELF_H

#include <stddef.h>
#include <stdint.h>

/**
 * elf_build_id() - from the notes of an ELF file open at @fd
 * Every offset in the file is checked. A file that is not ELF, or has no build-id, is not an error.
 * Return: bytes written to @out (at most @max), 0 when there is none
 */
size_t elf_build_id(int fd, uint8_t *out, size_t max);

#endif
