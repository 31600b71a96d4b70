/* SPDX-License-Identifier: GPL-2.0-or-later */
/* archive.h - an archive: pieces of bytes, and an index that says what they are. docs/ARCHIVE.md. */
#ifndef HAUL_ARCHIVE_H
#define HAUL_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"
#include "common/page.h"

#define ARCHIVE_PIECE_BYTES (512u << 10) /* raw, at most */
#define ARCHIVE_PIECE_PAGES (ARCHIVE_PIECE_BYTES / PAGE_BYTES)
#define ARCHIVE_SUM_BYTES   16u

struct archive;
struct Archive__Index;
struct Archive__Blob;
struct Archive__State;

enum archive_how {
	ARCHIVE_READ, /* shared with other readers; nothing can be written */
	ARCHIVE_WRITE, /* locked against other writers */
	ARCHIVE_MAKE, /* the same; made if it does not exist, and nameless until archive_commit() */
};

/** archive_trust() - certificates for archives behind HTTPS. @ca: a file, borrowed; NULL: the system's */
void archive_trust(const char *ca);
/**
 * archive_open() - check head and root, load the index
 * Return: 0; -ENOENT; -EBUSY: another program writes to it; -EBADMSG: damaged, cut off, or no archive
 */
int archive_open(struct archive **out, const char *path, enum archive_how how, struct err *e);
/** archive_free() - what was not committed is removed. Takes NULL */
void archive_free(struct archive *a);
DEFINE_AUTO(archive, archive_free)

/** archive_index() - the caller may change it, except @pieces, and then archive_commit() */
struct Archive__Index *archive_index(struct archive *a);
/** archive_commit() - all pieces and the index are durable, under the archive's name. Return: 0; -errno */
int archive_commit(struct archive *a, struct err *e);
/** archive_flush() - begin to write to the disk what was put so far; does not wait */
void archive_flush(struct archive *a);
/** archive_path() - as given to archive_open() */
const char *archive_path(const struct archive *a);
/** archive_bytes() - how long the file is */
uint64_t archive_bytes(const struct archive *a);
/** archive_state() - by its number; 0: the latest. NULL: there is none */
struct Archive__State *archive_state(struct archive *a, unsigned int number);
/** archive_own() - can nobody but this user (and root) change it? Always so behind a URL. Return: 0; -EPERM */
int archive_own(const struct archive *a, struct err *e);
/** archive_remove() - one that archive_open() has made goes away, name and all. Return: 0; -errno */
int archive_remove(struct archive *a, struct err *e);
/** archive_prune() - give the room of pieces that no state of the index needs to the file system */
int archive_prune(struct archive *a, uint64_t *freed_bytes, struct err *e);

/* ---- piece.c; these are thread-safe ---- */

/** archive_sum() - the checksum of @bytes at @p */
void archive_sum(const struct archive *a, const void *p, size_t bytes,
                 uint8_t out[ARCHIVE_SUM_BYTES]);
/** archive_put() - pack and append a piece. @number: out, from 1 on. @bytes: at most ARCHIVE_PIECE_BYTES */
int archive_put(struct archive *a, const void *raw, size_t bytes, uint64_t *number, struct err *e);
/**
 * archive_put_known() - the same, but a piece of @known that has these bytes is taken instead of a new one
 * @known: NULL: none; @hint: of the caller, for the calls that follow each other; 0 before the first
 */
int archive_put_known(struct archive *a, const struct Archive__Blob *known, size_t *hint,
                      const void *raw, size_t bytes, uint64_t *number, struct err *e);
/**
 * archive_get() - read, check and unpack a piece
 * @raw: room for ARCHIVE_PIECE_BYTES; @bytes: out
 * Return: 0; -EBADMSG: damaged; -EIO, -ENOENT and others: it cannot be read at present
 */
int archive_get(struct archive *a, uint64_t number, void *raw, size_t *bytes, struct err *e);
/** archive_piece_bytes() - raw bytes of a piece; 0: there is no such piece */
size_t archive_piece_bytes(struct archive *a, uint64_t number);
/** archive_put_blob() - @out: new, for the index */
int archive_put_blob(struct archive *a, const void *data, uint64_t bytes,
                     struct Archive__Blob **out, struct err *e);
/** archive_get_blob() - @out: the caller's, with a zero byte behind it. @max: more is -EFBIG */
int archive_get_blob(struct archive *a, const struct Archive__Blob *b, uint64_t max, uint8_t **out,
                     size_t *bytes, struct err *e);

#endif
