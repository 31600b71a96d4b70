// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-archive.c - any bytes as an archive: no crash, no memory out of proportion, every refusal has words,
 * and what is taken can be read to its end or is called damaged. A first byte of 1 seals head and
 * roots first, so that the fuzzer gets behind the checksums; of 2 the rest is the raw index of an
 * archive whose contents are 64 KiB. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/archive.pb-c.h"
#include "archive/priv.h"
#include "archive/verify.h"
#include "common/auto.h"
#include "replay.h"

#define FILE_MAX    (1u << 20)
#define USE_MAX     (64u << 20)
#define CONTENTS    (64u << 10)
#define SUM_AT      (HEAD_BYTES - ARCHIVE_SUM_BYTES)
#define SEED_OFFSET 16

static void must_say(const struct err *e)
{
	if (!e->msg[0])
		abort();
}

/* So that a small file is not unpacked into gigabytes. */
static uint64_t claimed(const Archive__State *s)
{
	uint64_t n = s->offer->bytes + s->switch_over->bytes + (s->files ? s->files->bytes : 0);

	for (size_t i = 0; i < s->n_image; i++)
		n += s->image[i]->data ? s->image[i]->data->bytes : 0;
	for (size_t i = 0; i < s->n_object; i++) {
		const Archive__Object *o = s->object[i];

		n += (o->map ? o->map->bytes : 0) + (o->sums ? o->sums->bytes : 0);
	}
	return n;
}

/* Everything that a load or haul archive does with an archive that was opened. */
static void use(struct archive *a)
{
	const Archive__Index *x = archive_index(a);
	struct archive_diff d;

	for (size_t i = 0; i < x->n_state && i < 8; i++) {
		struct err e = ERR_INIT;
		uint64_t pages;

		if (claimed(x->state[i]) > USE_MAX || claimed(x->state[0]) > USE_MAX)
			continue;
		if (archive_verify(a, x->state[i], &pages, &e) < 0)
			must_say(&e);
		err_clear(&e);
		if (archive_compare(a, x->state[0], x->state[i], &d, &e) < 0)
			must_say(&e);
	}
}

static uint64_t seed_of(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[SEED_OFFSET + i];
	return v;
}

static void seal(uint8_t *p, size_t bytes)
{
	struct archive a = { .seed = bytes >= HEAD_BYTES ? seed_of(p) : 0 };

	for (size_t at = 0; at + HEAD_BYTES <= bytes && at < DATA_OFFSET; at += HEAD_BYTES)
		archive_sum(&a, p + at, SUM_AT, p + at + SUM_AT);
}

static void as_file(const uint8_t *p, size_t bytes, bool sealed)
{
	AUTO(fd) int fd = memfd_create("archive", MFD_CLOEXEC);
	AUTO(mem) uint8_t *copy = malloc(bytes + 1);
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;
	char path[32];

	memcpy(copy, p, bytes);
	if (sealed)
		seal(copy, bytes);
	if (write(fd, copy, bytes) != (ssize_t)bytes)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (archive_open(&a, path, ARCHIVE_READ, &e) < 0)
		must_say(&e);
	else
		use(a);
}

static void as_index(const uint8_t *p, size_t bytes)
{
	char path[] = "index";
	struct archive a = { .place = { .fd = memfd_create("archive", MFD_CLOEXEC), .path = path },
		             .end = CONTENTS,
		             .safe_end = CONTENTS };
	struct err e = ERR_INIT;

	pthread_mutex_init(&a.pieces.lock, NULL);
	if (ftruncate(a.place.fd, CONTENTS) < 0)
		abort();
	if (index_read(&a, p, bytes, &e) < 0)
		must_say(&e);
	else
		use(&a);
	if (a.index)
		archive__index__free_unpacked(a.index, NULL);
	free(a.pieces.v);
	close(a.place.fd);
	pthread_mutex_destroy(&a.pieces.lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	if (bytes < 1 || bytes > FILE_MAX)
		return 0;
	if (p[0] == 2)
		as_index(p + 1, bytes - 1);
	else
		as_file(p + 1, bytes - 1, p[0] == 1);
	return 0;
}
