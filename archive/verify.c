// SPDX-License-Identifier: GPL-2.0-or-later
/* verify.c - read all of a state, and compare each page with its checksum; what differs between two. */
#include "archive/verify.h"

#include <string.h>

#include "archive/archive.pb-c.h"
#include "archive/pagemap.h"

#define BLOB_MAX (1ULL << 36)

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

/* The pages of @r, of which the first has the checksum @sums. */
static int verify_run(struct archive *a, const Archive__State *s, const struct pagemap_run *r,
                      const uint8_t *sums, uint8_t *raw, struct err *e)
{
	static const uint8_t zero[PAGE_BYTES];
	uint8_t sum[ARCHIVE_SUM_BYTES];
	size_t bytes = 0;
	int x = r->piece ? archive_get(a, r->piece, raw, &bytes, e) : 0;

	for (uint64_t i = 0; x == 0 && sums && i < r->pages; i++) {
		const uint8_t *page = r->piece ? raw + (r->first + i) * PAGE_BYTES : zero;

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
	int r = raw ? load(a, o, &m, e) : err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	uint64_t at = 0;

	for (size_t i = 0; r == 0 && i < m.map.n; i++) {
		const uint8_t *sums = m.sums ? m.sums + at * ARCHIVE_SUM_BYTES : NULL;

		r = verify_run(a, s, &m.map.v[i], sums, raw, e);
		at += m.map.v[i].pages;
	}
	*pages += at;
	fini(&m);
	return r;
}

static int verify_blob(struct archive *a, const Archive__Blob *b, struct err *e)
{
	AUTO(mem) uint8_t *raw = NULL;
	size_t bytes = 0;

	return b ? archive_get_blob(a, b, BLOB_MAX, &raw, &bytes, e) : 0;
}

int archive_verify(struct archive *a, const Archive__State *s, uint64_t *pages, struct err *e)
{
	int r = verify_blob(a, s->offer, e);

	*pages = 0;
	if (r == 0)
		r = verify_blob(a, s->switch_over, e);
	if (r == 0)
		r = verify_blob(a, s->files, e);
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

static bool at(const struct walk *w, uint64_t *vaddr)
{
	if (w->run == w->m->map.n)
		return false;
	*vaddr = w->m->map.v[w->run].vaddr + w->in_run * PAGE_BYTES;
	return true;
}

static void step(struct walk *w)
{
	w->number++;
	if (++w->in_run < w->m->map.v[w->run].pages)
		return;
	w->in_run = 0;
	w->run++;
}

static bool same(const struct walk *x, const struct walk *y)
{
	const struct pagemap_run *p = &x->m->map.v[x->run], *q = &y->m->map.v[y->run];

	if (x->m->sums && y->m->sums)
		return !memcmp(x->m->sums + x->number * ARCHIVE_SUM_BYTES,
		               y->m->sums + y->number * ARCHIVE_SUM_BYTES, ARCHIVE_SUM_BYTES);
	return p->piece == q->piece && (!p->piece || p->first + x->in_run == q->first + y->in_run);
}

static void compare(const struct summed *before, const struct summed *after,
                    struct archive_diff *out)
{
	struct walk x = { .m = before }, y = { .m = after };
	uint64_t v = 0, w = 0;
	bool has_x = at(&x, &v), has_y = at(&y, &w);

	while (has_x || has_y) {
		bool left = has_x && (!has_y || v < w), right = has_y && (!has_x || w < v);

		out->gone += left;
		out->fresh += right;
		out->same += !left && !right && same(&x, &y);
		out->changed += !left && !right && !same(&x, &y);
		if (!right)
			step(&x);
		if (!left)
			step(&y);
		has_x = at(&x, &v);
		has_y = at(&y, &w);
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
