// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-journal.c - any bytes as a journal: no crash; it is refused with a reason, or what is
 * recorded next is read back, and what was there before it still is. The first byte chooses
 * whether each line gets a right checksum first (else hardly any would come through it).
 * It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "common/host/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "replay.h"

#define ID         1
#define TEXT_BYTES 65536

static char dir[] = "/dev/shm/haul-fuzz.XXXXXX", file[64];

static void clean(void)
{
	unlink(file);
	rmdir(dir);
}

static void set_up(void)
{
	if (file[0])
		return;
	if (!mkdtemp(dir))
		abort();
	snprintf(file, sizeof(file), "%s/source-%016x", dir, ID);
	atexit(clean);
}

/* @to: room for @n and 17 bytes a line. Return: bytes */
static size_t put_lines(char *to, const uint8_t *p, size_t n)
{
	char *at = to;

	while (n > 0) {
		const uint8_t *end = memchr(p, '\n', n);
		size_t len = end ? (size_t)(end - p) : n, all = end ? len + 1 : len;
		uint64_t sum = XXH3_64bits(p, len);

		for (int i = 0; i < 16; i++)
			*at++ = "0123456789abcdef"[sum >> (60 - 4 * i) & 15];
		*at++ = ' ';
		memcpy(at, p, all);
		at += all;
		n -= all;
		p += all;
	}
	return (size_t)(at - to);
}

/* The file is made once, and written anew each time. */
static void put_file(const uint8_t *p, size_t n, int sums)
{
	static char text[18 * TEXT_BYTES];
	static int fd = -1;

	if (fd < 0)
		fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t bytes = sums ? put_lines(text, p, n) : n;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    pwrite(fd, sums ? (const void *)text : p, bytes, 0) != (ssize_t)bytes)
		abort();
}

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

static void same(const char *a, const char *b)
{
	if (!a != !b || (a && strcmp(a, b)))
		abort();
}

/* Recorded behind whatever was there, and read by the next one. */
static void go_on(struct journal *j)
{
	static const char *const keys[] = { "boot", "secret", "pids", "dest", "", "=" };
	char *was[ARRAY_SIZE(keys)];
	struct err e = ERR_INIT;

	journal_of_this_boot(j);
	if (strlen(journal_word(j)) > 64)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		was[i] = copy(journal_get(j, keys[i]));
	if (journal_add(j, &e, "undone", "x=%d", 7) < 0)
		abort();
	journal_close(j, false);
	if (journal_adopt(&j, dir, JOURNAL_SOURCE, ID, &e) < 0)
		abort();
	same(journal_word(j), "undone");
	same(journal_get(j, "x"), "7");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		same(journal_get(j, keys[i]), was[i]);
		free(was[i]);
	}
	journal_close(j, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct journal *j = NULL;
	struct err e = ERR_INIT;

	if (bytes == 0 || bytes > TEXT_BYTES)
		return 0;
	set_up();
	put_file(p + 1, bytes - 1, p[0] & 1);
	int r = journal_adopt(&j, dir, JOURNAL_SOURCE, ID, &e);

	if ((r < 0) != (e.src != ERR_NONE) || (r < 0) != !j)
		abort();
	if (r == 0)
		go_on(j);
	return 0;
}
