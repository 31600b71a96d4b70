// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-files.c - any bytes as files whose content a program that is moved can choose: an ELF
 * file that it maps, a line of its maps with the name of a file, a preamble. The first byte
 * says which. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "engine/proc/procs.c" /* NOLINT: the parser of a line is static */

#include <sys/mman.h>

#include "common/elf.h"
#include "replay.h"
#include "transport/preamble.h"

enum { ELF, MAPS, PREAMBLE, N_KINDS };

static void elf(const uint8_t *p, size_t bytes)
{
	static int fd = -1;
	uint8_t id[64 + 1];

	if (fd < 0)
		fd = memfd_create("elf", MFD_CLOEXEC);
	if (ftruncate(fd, (off_t)bytes) < 0 || pwrite(fd, p, bytes, 0) != (ssize_t)bytes)
		abort();
	id[64] = 0x5a;
	if (elf_build_id(fd, id, 64) > 64 || id[64] != 0x5a)
		abort();
}

static void maps(const uint8_t *p, size_t bytes)
{
	static struct vma_list l;
	AUTO(mem) char *line = strndup((const char *)p, bytes);

	l.n = 0;
	if (line && add_vma(&l, line) == 0 && (l.n != 1 || memchr(l.v[0].prot, 0, 5) == NULL))
		abort();
}

/* The same bytes as said by a source, and by a destination. */
static void preamble(const uint8_t *p, size_t bytes)
{
	uint8_t in[PREAMBLE_BYTES] = { 0 }, again[PREAMBLE_BYTES];
	struct err e = ERR_INIT;
	enum preamble_says says;
	struct preamble got;
	unsigned int value;

	memcpy(in, p, bytes < sizeof(in) ? bytes : sizeof(in));
	int r = preamble_get(in, &got, &e);

	if ((r < 0) != (e.msg[0] != 0))
		abort();
	if (r == 0) {
		preamble_put(again, &got);
		if (memcmp(in, again, sizeof(in)))
			abort();
	}
	err_clear(&e);
	if (preamble_head(in, &says, &value, &e) == 0 && says == PREAMBLE_GREETING &&
	    value > PREAMBLE_KEY_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	if (bytes < 1)
		return 0;
	switch (p[0] % N_KINDS) {
	case ELF:
		elf(p + 1, bytes - 1);
		break;
	case MAPS:
		maps(p + 1, bytes - 1);
		break;
	default:
		preamble(p + 1, bytes - 1);
		break;
	}
	return 0;
}
