// SPDX-License-Identifier: GPL-2.0-or-later
/* index.c - the index: checked when it is read, so that all others can trust its shape. */
#include "archive/priv.h"

#include <string.h>

#include "archive/archive.pb-c.h"

#define STATES_MAX  100000u
#define IMAGES_MAX  1000000u
#define NAME_MAX_   256u
#define SECRET_SIZE 32u

static int bad(const struct archive *a, const char *what, struct err *e)
{
	return err_set(e, ERR_USER, EBADMSG, "%s is damaged: %s", a->place.path, what);
}

/* ---- reading ---- */

static bool piece_ok(const struct archive *a, const Archive__Pieces *p, size_t i)
{
	uint64_t stored = p->stored[i], at = p->offset[i];
	uint8_t codec = p->codec.data[i];

	if (stored == 0)
		return true; /* removed */
	return stored <= ARCHIVE_PIECE_BYTES && p->raw[i] && p->raw[i] <= ARCHIVE_PIECE_BYTES &&
	       codec <= CODEC_ZSTD && (codec == CODEC_ZSTD || stored == p->raw[i]) &&
	       at >= DATA_OFFSET && at <= a->safe_end && stored <= a->safe_end - at;
}

static int take_pieces(struct archive *a, const Archive__Pieces *p, struct err *e)
{
	size_t n = p ? p->n_offset : 0;

	if (n == 0)
		return 0;
	if (p->n_stored != n || p->n_raw != n || p->codec.len != n ||
	    p->sum.len != n * ARCHIVE_SUM_BYTES)
		return bad(a, "its list of pieces", e);
	a->pieces.v = calloc(n, sizeof(*a->pieces.v));
	if (!a->pieces.v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the list of pieces");
	a->pieces.cap = n;
	for (size_t i = 0; i < n; i++) {
		struct piece *to = &a->pieces.v[i];

		if (!piece_ok(a, p, i))
			return bad(a, "its list of pieces", e);
		to->offset = p->offset[i];
		to->stored = p->stored[i];
		to->raw = p->raw[i];
		to->codec = p->codec.data[i];
		memcpy(to->sum, p->sum.data + i * ARCHIVE_SUM_BYTES, ARCHIVE_SUM_BYTES);
	}
	a->pieces.n = n;
	return 0;
}

static bool blob_ok(struct archive *a, const Archive__Blob *b)
{
	uint64_t sum = 0;

	for (size_t i = 0; b && i < b->n_piece; i++) {
		size_t n = archive_piece_bytes(a, b->piece[i]);

		if (n == 0)
			return false;
		sum += n;
	}
	return !b || sum == b->bytes;
}

/* A text that is shown to people is cleaned where it is printed; here only its length counts. */
static bool text_ok(const char *s)
{
	return strlen(s) < NAME_MAX_;
}

static bool who_ok(const Archive__Who *w)
{
	return w && text_ok(w->machine) && text_ok(w->boot) && text_ok(w->host) &&
	       w->pid <= INT32_MAX;
}

static bool state_ok(struct archive *a, const Archive__State *s, uint32_t after)
{
	if (s->number <= after || s->number > a->index->last_number ||
	    s->secret.len != SECRET_SIZE || s->mark < ARCHIVE__MARK__MARK_RUNNING ||
	    s->mark > ARCHIVE__MARK__MARK_ENDED || !who_ok(s->who) || !text_ok(s->comm) ||
	    !text_ok(s->program) || s->n_image > IMAGES_MAX || !s->offer || !s->switch_over ||
	    !blob_ok(a, s->offer) || !blob_ok(a, s->switch_over) || !blob_ok(a, s->files) ||
	    !blob_ok(a, s->tree))
		return false;
	for (size_t i = 0; i < s->n_image; i++)
		if (!text_ok(s->image[i]->name) || !blob_ok(a, s->image[i]->data))
			return false;
	for (size_t i = 0; i < s->n_object; i++) {
		const Archive__Object *o = s->object[i];

		if (!blob_ok(a, o->map) || !blob_ok(a, o->sums) ||
		    (o->sums && o->sums->bytes / ARCHIVE_SUM_BYTES != o->pages) ||
		    (i && o->obj == s->object[i - 1]->obj))
			return false;
	}
	return true;
}

static int check_states(struct archive *a, struct err *e)
{
	const Archive__Index *x = a->index;
	uint32_t after = 0;

	if (x->n_state > STATES_MAX || x->n_use > STATES_MAX)
		return bad(a, "too many states", e);
	for (size_t i = 0; i < x->n_state; i++) {
		if (!state_ok(a, x->state[i], after))
			return bad(a, "a state", e);
		after = x->state[i]->number;
	}
	for (size_t i = 0; i < x->n_use; i++)
		if (!who_ok(x->use[i]->who))
			return bad(a, "a use", e);
	return 0;
}

int index_read(struct archive *a, const uint8_t *raw, size_t bytes, struct err *e)
{
	a->index = archive__index__unpack(NULL, bytes, raw);
	if (!a->index)
		return bad(a, "its index", e);
	int r = take_pieces(a, a->index->pieces, e);

	if (r < 0)
		return r;
	if (a->index->pieces)
		archive__pieces__free_unpacked(steal(a->index->pieces), NULL);
	return check_states(a, e);
}

/* ---- writing ---- */

struct lists {
	uint64_t *offset;
	uint32_t *stored, *raw;
	uint8_t *codec, *sum;
};

static void fill(const struct pieces *from, const struct lists *l, Archive__Pieces *to)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct piece *p = &from->v[i];

		l->offset[i] = p->offset;
		l->stored[i] = p->stored;
		l->raw[i] = p->raw;
		l->codec[i] = p->codec;
		memcpy(l->sum + i * ARCHIVE_SUM_BYTES, p->sum, ARCHIVE_SUM_BYTES);
	}
	to->offset = l->offset;
	to->stored = l->stored;
	to->raw = l->raw;
	to->n_offset = to->n_stored = to->n_raw = to->codec.len = from->n;
	to->codec.data = l->codec;
	to->sum.data = l->sum;
	to->sum.len = from->n * ARCHIVE_SUM_BYTES;
}

int index_write(struct archive *a, uint8_t **out, size_t *bytes, struct err *e)
{
	size_t n = a->pieces.n + 1;
	AUTO(mem) uint64_t *offset = calloc(n, sizeof(*offset));
	AUTO(mem) uint32_t *stored = calloc(n, sizeof(*stored));
	AUTO(mem) uint32_t *raw = calloc(n, sizeof(*raw));
	AUTO(mem) uint8_t *codec = calloc(n, 1);
	AUTO(mem) uint8_t *sum = calloc(n, ARCHIVE_SUM_BYTES);
	struct lists l = { offset, stored, raw, codec, sum };
	Archive__Pieces p = ARCHIVE__PIECES__INIT;

	if (!offset || !stored || !raw || !codec || !sum)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the index");
	fill(&a->pieces, &l, &p);
	a->index->pieces = &p;
	*bytes = archive__index__get_packed_size(a->index);
	*out = malloc(*bytes + 1);
	if (*out)
		archive__index__pack(a->index, *out);
	a->index->pieces = NULL;
	return *out ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the index");
}
