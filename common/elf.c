// SPDX-License-Identifier: GPL-2.0-or-later
/* elf.c - find the GNU build-id note of a 64-bit ELF file. */
#include "common/elf.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define SEGMENTS_MAX 128
#define NOTES_MAX    4096

/* In one block of notes. Return: bytes in @out, 0 not there */
static size_t in_notes(const uint8_t *p, size_t n, uint8_t *out, size_t max)
{
	size_t at = 0;

	while (n - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;

		memcpy(&h, p + at, sizeof(h));
		at += sizeof(h);
		uint64_t name = (h.n_namesz + 3ULL) & ~3ULL, desc = (h.n_descsz + 3ULL) & ~3ULL;

		if (name > n - at || desc > n - at - name)
			return 0;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && !memcmp(p + at, "GNU", 4)) {
			size_t take = h.n_descsz < max ? h.n_descsz : max;

			memcpy(out, p + at + name, take);
			return take;
		}
		at += name + desc;
	}
	return 0;
}

size_t elf_build_id(int fd, uint8_t *out, size_t max)
{
	uint8_t notes[NOTES_MAX];
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	size_t found = 0;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof(ph) ||
	    eh.e_phoff > INT64_MAX / 2)
		return 0;
	for (unsigned int i = 0; !found && i < eh.e_phnum && i < SEGMENTS_MAX; i++) {
		off_t at = (off_t)(eh.e_phoff + i * sizeof(ph));

		if (pread(fd, &ph, sizeof(ph), at) != sizeof(ph))
			return 0;
		if (ph.p_type != PT_NOTE || ph.p_filesz > sizeof(notes) ||
		    ph.p_offset > INT64_MAX / 2)
			continue;
		ssize_t n = pread(fd, notes, ph.p_filesz, (off_t)ph.p_offset);

		if (n > 0)
			found = in_notes(notes, (size_t)n, out, max);
	}
	return found;
}
