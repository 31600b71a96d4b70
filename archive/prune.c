// SPDX-License-Identifier: GPL-2.0-or-later
/* prune.c - give room back that no state of the index needs; after the index that says so is durable. */
#include "archive/priv.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "archive/archive.pb-c.h"
#include "archive/pagemap.h"

static void mark_blob(uint8_t *used, const Archive__Blob *b)
{
	for (size_t i = 0; b && i < b->n_piece; i++)
		used[b->piece[i] - 1] = 1; /* index.c has checked the numbers */
}

static int mark_object(struct archive *a, uint8_t *used, const Archive__Object *o, struct err *e)
{
	AUTO(pagemap) struct pagemap m = { 0 };
	int r = pagemap_load(a, o, &m, e);

	mark_blob(used, o->map);
	mark_blob(used, o->sums);
	for (size_t i = 0; i < m.n; i++)
		if (m.v[i].piece)
			used[m.v[i].piece - 1] = 1;
	return r;
}

static int mark_state(struct archive *a, uint8_t *used, const Archive__State *s, struct err *e)
{
	int r = 0;

	mark_blob(used, s->offer);
	mark_blob(used, s->switch_over);
	mark_blob(used, s->files);
	mark_blob(used, s->tree);
	for (size_t i = 0; i < s->n_image; i++)
		mark_blob(used, s->image[i]->data);
	for (size_t i = 0; r == 0 && i < s->n_object; i++)
		r = mark_object(a, used, s->object[i], e);
	return r;
}

/* Return: how many bytes the pieces have that are not used; they leave the list */
static uint64_t forget(struct archive *a, const uint8_t *used)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < a->pieces.n; i++) {
		struct piece *p = &a->pieces.v[i];

		if (used[i] || !p->stored)
			continue;
		bytes += p->stored;
		*p = (struct piece){ 0 };
	}
	return bytes;
}

static int by_offset(const void *x, const void *y)
{
	const struct piece *a = x, *b = y;

	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Everything between the pieces that are left and the index that counts. */
static int punch(struct archive *a, struct err *e)
{
	AUTO(mem) struct piece *v = calloc(a->pieces.n + 1, sizeof(*v));
	uint64_t at = DATA_OFFSET;
	int r = 0;

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the list of pieces");
	memcpy(v, a->pieces.v, a->pieces.n * sizeof(*v));
	v[a->pieces.n].offset = a->index_at;
	v[a->pieces.n].stored = 1; /* it may be longer than a piece; no piece is behind it */
	qsort(v, a->pieces.n + 1, sizeof(*v), by_offset);
	for (size_t i = 0; r == 0 && i <= a->pieces.n && at < a->index_at; i++) {
		if (!v[i].stored)
			continue;
		if (v[i].offset > at)
			r = fallocate(a->place.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			              (off_t)at, (off_t)(v[i].offset - at));
		at = v[i].offset + v[i].stored;
	}
	return r < 0 && errno != EOPNOTSUPP ? err_sys(e, "%s", a->place.path) : 0;
}

/*
 * On a full disk there may be no room for the new index: then the room of what leaves the archive comes first. If haul
 * dies in between, the states that were to leave are damaged; those that stay are whole.
 */
static int commit(struct archive *a, struct err *e)
{
	int r = archive_commit(a, e);

	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	err_clear(e);
	r = punch(a, e);
	return r < 0 ? r : archive_commit(a, e);
}

int archive_prune(struct archive *a, uint64_t *freed_bytes, struct err *e)
{
	AUTO(mem) uint8_t *used = calloc(a->pieces.n + 1, 1);
	int r = used ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the list of pieces");

	for (size_t i = 0; r == 0 && i < a->index->n_state; i++)
		r = mark_state(a, used, a->index->state[i], e);
	if (r < 0)
		return r;
	*freed_bytes = forget(a, used);
	r = commit(a, e);
	return r < 0 ? r : punch(a, e);
}
