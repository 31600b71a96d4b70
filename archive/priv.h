/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of archive/ share. */
#ifndef HAUL_ARCHIVE_PRIV_H
#define HAUL_ARCHIVE_PRIV_H

#include <pthread.h>

#include "archive/archive.h"
#include "archive/web.h"

#define HEAD_BYTES    4096u
#define DATA_OFFSET   (3u * HEAD_BYTES)
#define INDEX_RAW_MAX (1u << 30)

enum { CODEC_RAW = 0, CODEC_ZSTD = 1 };

/* ---- place.c: where the bytes are ---- */

struct place {
	int fd; /* -1: behind a URL */
	struct web *web;
	bool nameless; /* made, and has no name yet */
	int dir_fd; /* the folder of one that was made here; -1 */
	char *temp; /* the name that it has meanwhile; NULL: none (O_TMPFILE) */
	char *path;
};

/** place_open() - open, lock. Return: 0; -errno */
int place_open(struct place *p, const char *path, enum archive_how how, struct err *e);
/** place_name() - give it its name. Return: 0; -EEXIST; -ESTALE: it had one, and has it no more */
int place_name(struct place *p, struct err *e);
/** place_own() - can nobody but this user (and root) change it? Always true behind a URL. Return: 0; -EPERM */
int place_own(const struct place *p, struct err *e);
/** place_remove() - one that was made here, and has its name: that goes. Return: 0; -errno */
int place_remove(struct place *p, struct err *e);
/** place_read() - exactly @bytes. Return: 0; -ENODATA: it ends before */
int place_read(const struct place *p, uint64_t at, void *buf, size_t bytes, struct err *e);
int place_write(const struct place *p, uint64_t at, const void *buf, size_t bytes, struct err *e);
/** place_bytes() - how long it is; 0: that cannot be told */
uint64_t place_bytes(const struct place *p);
/** place_close() - an archive without a name is gone */
void place_close(struct place *p);

/* ---- piece.c ---- */

struct piece {
	uint64_t offset;
	uint32_t stored, raw;
	uint8_t codec, sum[ARCHIVE_SUM_BYTES];
};

struct pieces {
	pthread_mutex_t lock; /* all of this, and archive.end */
	struct piece *v;
	size_t n, cap;
};

/* ---- archive.c ---- */

struct archive {
	struct place place;
	enum archive_how how;
	uint64_t seed, generation;
	uint64_t end; /* of what was put */
	uint64_t safe_end; /* of what the last root has */
	uint64_t index_at, index_stored; /* where its index is */
	struct pieces pieces;
	struct Archive__Index *index;
};

/** piece_unpack() - exactly @raw bytes. Return: 0; -EBADMSG */
int piece_unpack(int codec, const void *stored, size_t bytes, void *out, size_t raw);

/* ---- index.c ---- */

/** index_read() - unpack and check everything that is in it. @bytes: of the raw index */
int index_read(struct archive *a, const uint8_t *raw, size_t bytes, struct err *e);
/** index_write() - @out: the caller's, the raw index */
int index_write(struct archive *a, uint8_t **out, size_t *bytes, struct err *e);

#endif
