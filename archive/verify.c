// SPDX-License-Identifier: GPL-2.0-or-later
/* verify.c - read all of a state, and compare each page with its checksum; what differs between two. */
#include "archive/verify.h"

#include <string.h>

#include "archive/archive.pb-c.h"
#include "archive/pagemap.h"

#define BLOB_MAX (1ULL << 34)

static int damaged(const struct archive *a, const Archive__State *s, uint64_t vaddr, struct err *e)
{
	return err_set(e, ERR_USER, EBADMSG, "%s is damaged: state %u, page %llx", archive_path(a),
	               s->number, (unsigned long long)vaddr);
}

/* ---- one object ---- */

/* A page map with the checksum of each of its pages. */
struct summed {
	struct pagemap map;
	uint8_t *sums; /* NULL: there are none (imported) */
};

static int load(struct archive *a, const Archive__Object *o, struct summed *out, struct err *e)
{
	size_t bytes = 0;
	int r = pagemap_load(a, o, &out->map, e);

	if (r < 0 || !o->sums)
		return r;
	return archive_get_blob(a, o->sums, BLOB_MAX, &out->sums, &bytes, e);
}

static void fini(struct summed *s)
{
	pagemap_fini(&s->map);
	free(s->sums);
}

/* A piece that was unpacked. */
struct unpacked {
	uint64_t piece;
	uint8_t *raw;
};

static int unpack(struct archive *a, struct unpacked *u, uint64_t piece, struct err *e)
{
	size_t bytes = 0;

	if (u->piece == piece)
		return 0;
	u->piece = 0;
	int r = archive_get(a, piece, u->raw, &bytes, e);

	if (r < 0)
		return r;
	u->piece = piece;
	return 0;
}

/* The pages of @r, of which the first has the checksum @sums. */
static int verify_run(struct archive *a, const Archive__State *s, const struct pagemap_run *r,
                      const uint8_t *sums, struct unpacked *u, struct err *e)
{
	static const uint8_t zero[PAGE_BYTES];
	uint8_t sum[ARCHIVE_SUM_BYTES];
	int x = r->piece ? unpack(a, u, r->piece, e) : 0;

	for (uint64_t i = 0; x == 0 && sums && i < r->pages; i++) {
		const uint8_t *page = r->piece ? u->raw + (r->first + i) * PAGE_BYTES : zero;

		archive_sum(a, page, PAGE_BYTES, sum);
		if (memcmp(sum, sums + i * ARCHIVE_SUM_BYTES, sizeof(sum)))
			x = damaged(a, s, r->vaddr + i * PAGE_BYTES, e);
	}
	return x;
}

static int verify_object(struct archive *a, const Archive__State *s, const Archive__Object *o,
                         uint64_t *pages, struct err *e)
{
	struct summed m = { 0 };
	AUTO(mem) uint8_t *raw = malloc(ARCHIVE_PIECE_BYTES);
	struct unpacked u = { 0, raw };
	int r = raw ? load(a, o, &m, e) : err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	uint64_t at = 0;

	for (size_t i = 0; r == 0 && i < m.map.n; i++) {
		const uint8_t *sums = m.sums ? m.sums + at * ARCHIVE_SUM_BYTES : NULL;

		r = verify_run(a, s, &m.map.v[i], sums, &u, e);
		at += m.map.v[i].pages;
	}
	*pages += at;
	fini(&m);
	return r;
}

static int verify_blob(struct archive *a, const Archive__Blob *b, struct err *e)
{
	AUTO(mem) uint8_t *raw = malloc(ARCHIVE_PIECE_BYTES);
	size_t bytes = 0;
	int r = raw ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");

	for (size_t i = 0; b && r == 0 && i < b->n_piece; i++)
		r = archive_get(a, b->piece[i], raw, &bytes, e);
	return r;
}

int archive_verify(struct archive *a, const Archive__State *s, uint64_t *pages, struct err *e)
{
	int r = 0;

	*pages = 0;
	if (verify_blob(a, s->offer, e) < 0 || verify_blob(a, s->switch_over, e) < 0 ||
	    verify_blob(a, s->files, e) < 0 || verify_blob(a, s->tree, e) < 0)
		return err_code(e);
	for (size_t i = 0; r == 0 && i < s->n_image; i++)
		r = verify_blob(a, s->image[i]->data, e);
	for (size_t i = 0; r == 0 && i < s->n_object; i++)
		r = verify_object(a, s, s->object[i], pages, e);
	return r;
}

/* ---- two states ---- */

/* A walk over the pages of a map in ascending order. */
struct walk {
	const struct summed *m;
	size_t run;
	uint64_t in_run, number; /* page within the run; of all */
};

/* Return: how many pages follow each other from @vaddr on; 0: none is left */
static uint64_t at(const struct walk *w, uint64_t *vaddr)
{
	if (w->run == w->m->map.n)
		return 0;
	const struct pagemap_run *r = &w->m->map.v[w->run];

	*vaddr = r->vaddr + w->in_run * PAGE_BYTES;
	return r->pages - w->in_run;
}

static void skip(struct walk *w, uint64_t pages)
{
	w->number += pages;
	w->in_run += pages;
	if (w->in_run < w->m->map.v[w->run].pages)
		return;
	w->in_run = 0;
	w->run++;
}

/* How many of @n pages, which both have at the same addresses, are the same? */
static uint64_t count_same(const struct walk *x, const struct walk *y, uint64_t n)
{
	const struct pagemap_run *p = &x->m->map.v[x->run], *q = &y->m->map.v[y->run];
	uint64_t same = 0;

	if (!x->m->sums || !y->m->sums)
		return p->piece == q->piece &&
		                       (!p->piece || p->first + x->in_run == q->first + y->in_run)
		               ? n
		               : 0;
	for (uint64_t i = 0; i < n; i++)
		same += !memcmp(x->m->sums + (x->number + i) * ARCHIVE_SUM_BYTES,
		                y->m->sums + (y->number + i) * ARCHIVE_SUM_BYTES,
		                ARCHIVE_SUM_BYTES);
	return same;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void compare(const struct summed *before, const struct summed *after,
                    struct archive_diff *out)
{
	struct walk x = { .m = before }, y = { .m = after };
	uint64_t v = 0, w = 0, n_x, n_y;

	while (n_x = at(&x, &v), n_y = at(&y, &w), n_x || n_y) {
		if (n_x && (!n_y || v < w)) {
			uint64_t n = n_y ? least(n_x, (w - v) >> PAGE_BITS) : n_x;

			out->gone += n;
			skip(&x, n);
		} else if (!n_x || w < v) {
			uint64_t n = n_x ? least(n_y, (v - w) >> PAGE_BITS) : n_y;

			out->fresh += n;
			skip(&y, n);
		} else {
			uint64_t n = least(n_x, n_y), same = count_same(&x, &y, n);

			out->same += same;
			out->changed += n - same;
			skip(&x, n);
			skip(&y, n);
		}
	}
}

static const Archive__Object *find(const Archive__State *s, uint64_t obj)
{
	for (size_t i = 0; i < s->n_object; i++)
		if (s->object[i]->obj == obj)
			return s->object[i];
	return NULL;
}

static int compare_objects(struct archive *a, const Archive__Object *before,
                           const Archive__Object *after, struct archive_diff *out, struct err *e)
{
	struct summed x = { 0 }, y = { 0 };
	int r = before ? load(a, before, &x, e) : 0;

	if (r == 0 && after)
		r = load(a, after, &y, e);
	if (r == 0)
		compare(&x, &y, out);
	fini(&x);
	fini(&y);
	return r;
}

int archive_compare(struct archive *a, const Archive__State *before, const Archive__State *after,
                    struct archive_diff *out, struct err *e)
{
	int r = 0;

	*out = (struct archive_diff){ 0 };
	for (size_t i = 0; r == 0 && i < after->n_object; i++)
		r = compare_objects(a, find(before, after->object[i]->obj), after->object[i], out,
		                    e);
	for (size_t i = 0; r == 0 && i < before->n_object; i++)
		if (!find(after, before->object[i]->obj))
			r = compare_objects(a, before->object[i], NULL, out, e);
	return r;
}
