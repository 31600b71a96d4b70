// SPDX-License-Identifier: GPL-2.0-or-later
/* t-elf-buildid.c - build-ids of programs, and of files that are none or lie about it. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/elf.h"
#include "tests/checks.h"

#define FILE_BYTES 512
#define NOTE_AT    256
#define ROUNDS     200000

/* A small file with one other note before the build-id. */
static void make(uint8_t *f)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)f;
	Elf64_Phdr *p = (Elf64_Phdr *)(f + sizeof(*h));
	Elf64_Nhdr other = { 4, 4, NT_GNU_ABI_TAG }, id = { 4, 8, NT_GNU_BUILD_ID };
	uint8_t *n = f + NOTE_AT;

	memset(f, 0, FILE_BYTES);
	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_phoff = sizeof(*h);
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[1].p_type = PT_NOTE;
	p[1].p_offset = NOTE_AT;
	memcpy(n, &other, sizeof(other));
	memcpy(n + 12, "GNU\0abcd", 8);
	memcpy(n + 20, &id, sizeof(id));
	memcpy(n + 32, "GNU\0build-id", 12);
	p[1].p_filesz = 44;
}

static size_t id_of(const uint8_t *f, size_t bytes, uint8_t *out, size_t max)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("elf", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, f, bytes, 0) != (ssize_t)bytes)
		return 999;
	return elf_build_id(fd, out, max);
}

static void small(void)
{
	uint8_t f[FILE_BYTES] __attribute__((aligned(16))), id[64];
	Elf64_Ehdr *h = (Elf64_Ehdr *)f;
	Elf64_Phdr *p = (Elf64_Phdr *)(f + sizeof(*h));

	make(f);
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) == 8 && !memcmp(id, "build-id", 8), "id");
	CHECK(id_of(f, sizeof(f), id, 3) == 3, "no more than asked for");
	for (size_t n = 0; n < NOTE_AT + 44; n++)
		CHECK(id_of(f, n, id, sizeof(id)) == 0, "cut off at %zu", n);
	h->e_phoff = UINT64_MAX - 8;
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) == 0, "offset of headers");
	make(f);
	p[1].p_offset = UINT64_MAX - 8;
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) == 0, "offset of notes");
	make(f);
	p[1].p_filesz = UINT64_MAX;
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) <= sizeof(id), "size of notes");
	make(f);
	memset(f + NOTE_AT, 0xff, 8);
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) == 0, "size of a note");
	make(f);
	f[EI_CLASS] = ELFCLASS32;
	CHECK(id_of(f, sizeof(f), id, sizeof(id)) == 0, "32 bits");
	CHECK(id_of((const uint8_t *)"#!/bin/sh\n", 10, id, sizeof(id)) == 0, "a script");
}

/* Bytes changed at random: whatever comes out, it stays within bounds. */
static void fuzz(void)
{
	uint8_t f[FILE_BYTES] __attribute__((aligned(16)));

	srandom(1);
	for (int r = 0; r < ROUNDS; r++) {
		uint8_t *id = malloc(8);

		make(f);
		for (int k = random() % 6; k >= 0; k--)
			f[random() % FILE_BYTES] = (uint8_t)random();
		size_t n = id ? id_of(f, (size_t)random() % FILE_BYTES, id, 8) : 0;

		CHECK(n <= 8, "%zu bytes", n);
		free(id);
	}
}

int main(void)
{
	uint8_t id[64], again[64];
	AUTO(fd) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t n = elf_build_id(fd, id, sizeof(id));

	CHECK(n >= 8 && n <= 32, "%zu bytes of this program", n);
	CHECK(elf_build_id(fd, again, sizeof(again)) == n && !memcmp(id, again, n), "twice");
	CHECK(elf_build_id(-1, id, sizeof(id)) == 0, "no file");
	small();
	fuzz();
	return checks_end();
}
