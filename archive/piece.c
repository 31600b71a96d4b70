// SPDX-License-Identifier: GPL-2.0-or-later
/* piece.c - pieces and blobs: packed and appended; read, checked and unpacked. */
#include "archive/priv.h"

#include <string.h>
#include <zstd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "archive/archive.pb-c.h"
#include "common/array.h"

#define LEVEL 1

/* ---- pure ---- */

/* Return: the codec; @out, of ZSTD_compressBound() bytes, holds the stored bytes if it is one */
static int pack(const void *raw, size_t bytes, void *out, size_t room, size_t *stored)
{
	size_t n = ZSTD_compress(out, room, raw, bytes, LEVEL);
	/* what becomes hardly shorter is not worth unpacking */
	bool pays = !ZSTD_isError(n) && n < bytes - bytes / 16;

	*stored = pays ? n : bytes;
	return pays ? CODEC_ZSTD : CODEC_RAW;
}

int piece_unpack(int codec, const void *stored, size_t bytes, void *out, size_t raw)
{
	if (codec == CODEC_RAW && bytes == raw) {
		memcpy(out, stored, raw);
		return 0;
	}
	if (codec != CODEC_ZSTD)
		return -EBADMSG;
	return ZSTD_decompress(out, raw, stored, bytes) == raw ? 0 : -EBADMSG;
}

void archive_sum(const struct archive *a, const void *p, size_t bytes,
                 uint8_t out[ARCHIVE_SUM_BYTES])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_withSeed(p, bytes, a->seed));
	memcpy(out, c.digest, ARCHIVE_SUM_BYTES);
}

/* ---- pieces ---- */

/* Room in the file for @p, whose number is returned. 0: no memory */
static uint64_t add(struct archive *a, struct piece *p)
{
	struct pieces *all = &a->pieces;
	uint64_t number = 0;

	pthread_mutex_lock(&all->lock);
	if (array_grow(&all->v, all->n, &all->cap, sizeof(*all->v)) == 0) {
		p->offset = a->end;
		a->end += p->stored;
		all->v[all->n++] = *p;
		number = all->n;
	}
	pthread_mutex_unlock(&all->lock);
	return number;
}

/* Return: false: there is no such piece */
static bool find(struct archive *a, uint64_t number, struct piece *out)
{
	pthread_mutex_lock(&a->pieces.lock);
	bool is = number && number <= a->pieces.n && a->pieces.v[number - 1].stored;

	if (is)
		*out = a->pieces.v[number - 1];
	pthread_mutex_unlock(&a->pieces.lock);
	return is;
}

static bool is_piece(struct archive *a, uint64_t number, const struct piece *p)
{
	struct piece q;

	return find(a, number, &q) && q.stored == p->stored && q.raw == p->raw &&
	       q.codec == p->codec && !memcmp(q.sum, p->sum, sizeof(q.sum));
}

/* Return: the number of the piece of @known that is @p; 0: none. The pieces mostly come in their order there. */
static uint64_t find_known(struct archive *a, const Archive__Blob *known, size_t *hint,
                           const struct piece *p)
{
	size_t n = known ? known->n_piece : 0;

	for (size_t i = 0; i < n; i++) {
		size_t k = (*hint + i) % n;

		if (!is_piece(a, known->piece[k], p))
			continue;
		*hint = k + 1;
		return known->piece[k];
	}
	return 0;
}

int archive_put_known(struct archive *a, const Archive__Blob *known, size_t *hint, const void *raw,
                      size_t bytes, uint64_t *number, struct err *e)
{
	size_t room = ZSTD_compressBound(ARCHIVE_PIECE_BYTES), stored = 0;
	AUTO(mem) uint8_t *buf = malloc(room);

	if (a->how == ARCHIVE_READ || bytes == 0 || bytes > ARCHIVE_PIECE_BYTES)
		return err_set(e, ERR_BUG, EINVAL, "a piece of %zu bytes", bytes);
	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	int codec = pack(raw, bytes, buf, room, &stored);
	const void *from = codec == CODEC_RAW ? raw : buf;
	struct piece p = { .stored = (uint32_t)stored,
		           .raw = (uint32_t)bytes,
		           .codec = (uint8_t)codec };

	archive_sum(a, from, stored, p.sum);
	*number = find_known(a, known, hint, &p);
	if (*number)
		return 0;
	*number = add(a, &p);
	if (!*number)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	return place_write(&a->place, p.offset, from, stored, e);
}

int archive_put(struct archive *a, const void *raw, size_t bytes, uint64_t *number, struct err *e)
{
	return archive_put_known(a, NULL, NULL, raw, bytes, number, e);
}

size_t archive_piece_bytes(struct archive *a, uint64_t number)
{
	struct piece p;

	return find(a, number, &p) ? p.raw : 0;
}

static int damaged(const struct archive *a, uint64_t number, struct err *e)
{
	return err_set(e, ERR_USER, EBADMSG, "%s is damaged: piece %llu", a->place.path,
	               (unsigned long long)number);
}

int archive_get(struct archive *a, uint64_t number, void *raw, size_t *bytes, struct err *e)
{
	struct piece p;
	uint8_t sum[ARCHIVE_SUM_BYTES];

	if (!find(a, number, &p))
		return damaged(a, number, e);
	AUTO(mem) uint8_t *buf = malloc(p.stored);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	int r = place_read(&a->place, p.offset, buf, p.stored, e);

	if (r < 0)
		return r;
	archive_sum(a, buf, p.stored, sum);
	if (memcmp(sum, p.sum, sizeof(sum)) || piece_unpack(p.codec, buf, p.stored, raw, p.raw) < 0)
		return damaged(a, number, e);
	*bytes = p.raw;
	return 0;
}

/* ---- blobs ---- */

int archive_put_blob(struct archive *a, const void *data, uint64_t bytes, Archive__Blob **out,
                     struct err *e)
{
	size_t n = (size_t)((bytes + ARCHIVE_PIECE_BYTES - 1) / ARCHIVE_PIECE_BYTES);
	Archive__Blob *b = malloc(sizeof(*b));
	int r = 0;

	if (!b)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a blob");
	archive__blob__init(b);
	b->bytes = bytes;
	b->piece = calloc(n + 1, sizeof(*b->piece));
	if (!b->piece)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory for a blob");
	for (uint64_t at = 0; r == 0 && at < bytes; at += ARCHIVE_PIECE_BYTES) {
		size_t some = bytes - at < ARCHIVE_PIECE_BYTES ? (size_t)(bytes - at)
		                                               : ARCHIVE_PIECE_BYTES;

		r = archive_put(a, (const uint8_t *)data + at, some, &b->piece[b->n_piece++], e);
	}
	if (r < 0)
		archive__blob__free_unpacked(b, NULL);
	else
		*out = b;
	return r;
}

int archive_get_blob(struct archive *a, const Archive__Blob *b, uint64_t max, uint8_t **out,
                     size_t *bytes, struct err *e)
{
	uint64_t total = b ? b->bytes : 0, at = 0;
	size_t room = total < ARCHIVE_PIECE_BYTES ? (size_t)total : ARCHIVE_PIECE_BYTES;

	if (total > max)
		return err_set(e, ERR_USER, EFBIG, "%s has a part of %llu bytes", a->place.path,
		               (unsigned long long)total);
	AUTO(mem) uint8_t *all = malloc(room + 1);
	AUTO(mem) uint8_t *raw = malloc(ARCHIVE_PIECE_BYTES);

	if (!all || !raw)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a part of %s", a->place.path);
	for (size_t i = 0; b && i < b->n_piece; i++) {
		size_t n = 0;
		int r = archive_get(a, b->piece[i], raw, &n, e);

		if (r < 0)
			return r;
		if (n > total - at)
			return damaged(a, b->piece[i], e);
		/* memory grows with the bytes that were read, not with the size that the index claims */
		if (n > room - at) {
			room = 2 * room < total ? 2 * room : (size_t)total;
			uint8_t *more = realloc(all, room + 1);

			if (!more)
				return err_set(e, ERR_SYS, ENOMEM, "no memory for a part of %s",
				               a->place.path);
			all = more;
		}
		memcpy(all + at, raw, n);
		at += n;
	}
	if (at != total)
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: a part is incomplete",
		               a->place.path);
	all[total] = 0;
	*bytes = (size_t)total;
	*out = steal(all);
	return 0;
}
