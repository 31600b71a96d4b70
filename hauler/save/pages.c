// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pages.c - page frames become pieces. A page that the last state has, or that came before, with the same
 * checksum is not written again.
 */
#include "hauler/save/priv.h"

#include <stdlib.h>
#include <string.h>

#include "archive/archive.pb-c.h"
#include "archive/pagemap.h"
#include "common/array.h"
#include "common/clock.h"
#include "transport/msg/frame.h"

#define RECV_BYTES (FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES)
#define SUMS_MAX   (1ULL << 36)

_Static_assert(FRAME_PAGES_MAX <= ARCHIVE_PIECE_PAGES, "a frame fits into a piece");

/* ---- what is known of each page ---- */

static struct sparse *pages_of(struct save *s, uint64_t obj, bool create)
{
	struct sparse *found = NULL;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; !found && i < s->n_objs; i++)
		if (s->obj[i].obj == obj)
			found = s->obj[i].pages;
	if (!found && create && s->n_objs < SAVE_OBJS_MAX &&
	    array_grow(&s->obj, s->n_objs, &s->cap_objs, sizeof(*s->obj)) == 0) {
		found = sparse_new(SPARSE_PAGES * sizeof(struct save_page));
		if (found)
			s->obj[s->n_objs++] = (struct save_obj){ obj, found };
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

static struct save_page *page_in(struct sparse *pages, uint64_t vaddr, bool create)
{
	struct save_page *v = pages ? sparse_get(pages, vaddr / SPARSE_BYTES, create) : NULL;

	return v ? &v[(vaddr % SPARSE_BYTES) >> PAGE_BITS] : NULL;
}

struct save_page *save_page(struct save *s, uint64_t obj, uint64_t vaddr)
{
	return page_in(pages_of(s, obj, false), vaddr, false);
}

void save_pages_free(struct save *s)
{
	for (size_t i = 0; i < s->n_objs; i++)
		sparse_free(s->obj[i].pages);
	free(s->obj);
	s->obj = NULL;
	s->n_objs = s->cap_objs = 0;
}

/* ---- the last state ---- */

static int know_run(struct sparse *pages, const struct pagemap_run *r, const uint8_t *sums)
{
	for (uint64_t i = 0; i < r->pages; i++) {
		struct save_page *p = page_in(pages, r->vaddr + i * PAGE_BYTES, true);

		if (!p)
			return -ENOMEM;
		p->piece = (uint32_t)r->piece;
		p->first = (uint8_t)(r->piece ? r->first + i : 0);
		p->flags = PAGE_KNOWN;
		memcpy(p->sum, sums + i * ARCHIVE_SUM_BYTES, ARCHIVE_SUM_BYTES);
	}
	return 0;
}

static int know_object(struct save *s, const Archive__Object *o, struct err *e)
{
	AUTO(pagemap) struct pagemap m = { 0 };
	AUTO(mem) uint8_t *sums = NULL;
	size_t bytes = 0;
	uint64_t at = 0;
	struct sparse *pages = pages_of(s, o->obj, true);

	if (!pages)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	if (!o->sums || pagemap_load(s->a, o, &m, e) < 0 ||
	    archive_get_blob(s->a, o->sums, SUMS_MAX, &sums, &bytes, e) < 0)
		return e->src ? err_code(e) : 0; /* an imported one has no sums */
	for (size_t i = 0; i < m.n; i++) {
		if (know_run(pages, &m.v[i], sums + at * ARCHIVE_SUM_BYTES) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
		at += m.v[i].pages;
	}
	return 0;
}

int save_pages_known(struct save *s, struct err *e)
{
	const Archive__State *last = archive_state(s->a, 0);
	int r = 0;

	for (size_t i = 0; last && r == 0 && i < last->n_object; i++)
		r = know_object(s, last->object[i], e);
	return r;
}

/* ---- pages that come ---- */

/* The pages of a frame that have to be written. */
struct fresh {
	struct save_page *page[FRAME_PAGES_MAX];
	unsigned int n;
	uint8_t *raw; /* room for FRAME_PAGES_MAX pages */
};

static void take_page(const struct save *s, struct save_page *p, const uint8_t *data,
                      uint16_t round, struct fresh *f)
{
	uint8_t sum[ARCHIVE_SUM_BYTES];
	static const uint8_t zero[PAGE_BYTES];

	archive_sum(s->a, data ? data : zero, PAGE_BYTES, sum);
	p->round = round;
	if ((p->flags & PAGE_KNOWN) && !memcmp(p->sum, sum, sizeof(sum))) {
		p->flags |= PAGE_HERE;
		return;
	}
	memcpy(p->sum, sum, sizeof(sum));
	p->flags = PAGE_HERE | PAGE_KNOWN;
	p->piece = 0;
	p->first = 0;
	if (!data)
		return;
	memcpy(f->raw + (size_t)f->n * PAGE_BYTES, data, PAGE_BYTES);
	f->page[f->n++] = p;
}

static int take_run(struct save *s, const struct frame_run *r, const uint8_t *data, uint16_t round,
                    struct fresh *f, struct err *e)
{
	struct sparse *pages = pages_of(s, r->obj, true);

	for (uint32_t i = 0; i < r->pages; i++) {
		struct save_page *p = page_in(pages, r->vaddr + (uint64_t)i * PAGE_BYTES, true);

		if (!p)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
		if (r->kind == RUN_GONE)
			p->flags &= (uint8_t)~PAGE_HERE;
		else
			take_page(s, p, data ? data + (size_t)i * PAGE_BYTES : NULL, round, f);
	}
	return 0;
}

static int take_frame(struct save *s, const struct frame *in, const uint8_t *data, uint8_t *raw,
                      struct err *e)
{
	struct fresh f = { .raw = raw };
	uint32_t marked = __atomic_load_n(&s->marked, __ATOMIC_RELAXED) + 1;
	uint16_t round = marked < UINT16_MAX ? (uint16_t)marked : UINT16_MAX;
	uint64_t number = 0;

	for (uint32_t i = 0; i < in->n_runs; i++) {
		const struct frame_run *r = &in->runs[i];
		bool has = r->kind == RUN_DATA;
		int x = take_run(s, r, has ? data : NULL, round, &f, e);

		if (x < 0)
			return x;
		if (has)
			data += (size_t)r->pages * PAGE_BYTES;
	}
	if (f.n == 0)
		return 0;
	int r = archive_put(s->a, raw, (size_t)f.n * PAGE_BYTES, &number, e);

	if (r == 0 && number > UINT32_MAX)
		r = err_set(e, ERR_USER, EFBIG, "%s has too many pieces", s->path);
	for (unsigned int i = 0; r == 0 && i < f.n; i++) {
		f.page[i]->piece = (uint32_t)number;
		f.page[i]->first = (uint8_t)i;
	}
	return r;
}

/* The stream that completes a mark tells the source, and the disk begins to write. */
static int take_mark(struct conn *c, uint32_t mark, struct err *e)
{
	struct save *s = c->s;
	unsigned int have = 0;
	Haul__Marked m = HAUL__MARKED__INIT;

	pthread_mutex_lock(&s->lock);
	c->mark = mark;
	for (unsigned int i = 0; i < s->n_conns; i++)
		have += s->conn[i].data && s->conn[i].mark >= mark;
	bool complete = have == s->n_streams && s->marked < mark;

	if (complete)
		__atomic_store_n(&s->marked, mark, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&s->lock);
	if (!complete)
		return 0;
	archive_flush(s->a);
	m.mark = mark;
	return save_say(s, HAUL__MSG__BODY_MARKED, &m, e);
}

int save_pages_loop(struct conn *c, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(RECV_BYTES);
	AUTO(mem) uint8_t *raw = malloc(FRAME_PAGES_MAX * PAGE_BYTES);
	AUTO(mem) struct frame *f = malloc(sizeof(*f));
	const uint8_t *data;

	if (!buf || !raw || !f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a stream");
	for (;;) {
		int r = frame_recv(c->ch, f, buf, &data, DEADLINE_NEVER, e);

		if (r < 0)
			return r;
		if (f->type == FRAME_BYE)
			return 0;
		if (f->type == FRAME_PAGES)
			r = take_frame(c->s, f, data, raw, e);
		else if (f->type == FRAME_MARK)
			r = take_mark(c, f->mark, e);
		if (r < 0)
			return r;
	}
}
