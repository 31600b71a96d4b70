// SPDX-License-Identifier: GPL-2.0-or-later
/* pagemap.c - the page map of an object: built in order, encoded as varints, decoded with every check. */
#include "archive/pagemap.h"

#include <string.h>

#include "archive/archive.pb-c.h"
#include "archive/priv.h"
#include "common/array.h"

#define NUMBERS      5 /* varints of a run */
#define VARINT_BYTES 10
#define VADDR_END    (1ULL << 56)
#define MAP_MAX      (1ULL << 32)
#define ZERO_MAX     (1ULL << 40) /* pages of a run of zero pages */

int pagemap_add(struct pagemap *m, const struct pagemap_run *r)
{
	struct pagemap_run *last = m->n ? &m->v[m->n - 1] : NULL;

	m->pages += r->pages;
	if (last && last->vaddr + last->pages * PAGE_BYTES == r->vaddr && last->piece == r->piece &&
	    last->round == r->round && (!r->piece || last->first + last->pages == r->first)) {
		last->pages += r->pages;
		return 0;
	}
	if (array_grow(&m->v, m->n, &m->cap, sizeof(*m->v)) < 0)
		return -ENOMEM;
	m->v[m->n++] = *r;
	return 0;
}

const struct pagemap_run *pagemap_find(const struct pagemap *m, uint64_t vaddr)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct pagemap_run *r = &m->v[mid];

		if (r->vaddr + r->pages * PAGE_BYTES <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n ? &m->v[low] : NULL;
}

void pagemap_fini(struct pagemap *m)
{
	free(m->v);
	*m = (struct pagemap){ 0 };
}

/* ---- encoding ---- */

static uint8_t *put(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static bool get(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	*out = 0;
	for (unsigned int shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t byte = *(*p)++;

		if (shift == 63 && byte > 1)
			return false;
		*out |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

int pagemap_save(struct archive *a, const struct pagemap *m, Archive__Object *o, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(m->n * NUMBERS * VARINT_BYTES + 1);
	uint8_t *p = buf;
	uint64_t at = 0;

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a page map");
	for (size_t i = 0; i < m->n; i++) {
		const struct pagemap_run *r = &m->v[i];

		p = put(p, (r->vaddr - at) >> PAGE_BITS);
		p = put(p, r->pages);
		p = put(p, r->piece);
		p = put(p, r->first);
		p = put(p, r->round);
		at = r->vaddr + r->pages * PAGE_BYTES;
	}
	o->pages = m->pages;
	return archive_put_blob(a, buf, (uint64_t)(p - buf), &o->map, e);
}

/* ---- decoding ---- */

/* Return: 0 with the next run, which begins at @at or behind it; -EBADMSG */
static int next(struct archive *a, const uint8_t **p, const uint8_t *end, uint64_t at,
                struct pagemap_run *r)
{
	uint64_t gap, first, round;

	if (!get(p, end, &gap) || !get(p, end, &r->pages) || !get(p, end, &r->piece) ||
	    !get(p, end, &first) || !get(p, end, &round))
		return -EBADMSG;
	if (gap >= VADDR_END >> PAGE_BITS || r->pages == 0 || r->pages > ZERO_MAX ||
	    first >= ARCHIVE_PIECE_PAGES || round > UINT32_MAX)
		return -EBADMSG;
	r->vaddr = at + gap * PAGE_BYTES;
	r->first = (uint32_t)first;
	r->round = (uint32_t)round;
	if (r->vaddr >= VADDR_END || r->pages > (VADDR_END - r->vaddr) >> PAGE_BITS)
		return -EBADMSG;
	return !r->piece || (first + r->pages) * PAGE_BYTES <= archive_piece_bytes(a, r->piece)
	               ? 0
	               : -EBADMSG;
}

int pagemap_unpack(struct archive *a, const uint8_t *in, size_t bytes, struct pagemap *out)
{
	const uint8_t *p = in, *end = in + bytes;
	uint64_t at = 0;

	while (p < end) {
		struct pagemap_run r = { 0 };
		int x = next(a, &p, end, at, &r);

		if (x == 0)
			x = pagemap_add(out, &r);
		if (x < 0)
			return x;
		at = r.vaddr + r.pages * PAGE_BYTES;
	}
	return 0;
}

int pagemap_load(struct archive *a, const Archive__Object *o, struct pagemap *out, struct err *e)
{
	AUTO(mem) uint8_t *raw = NULL;
	size_t bytes = 0;
	int r = archive_get_blob(a, o->map, MAP_MAX, &raw, &bytes, e);

	if (r < 0)
		return r;
	r = pagemap_unpack(a, raw, bytes, out);
	if (r == 0 && out->pages != o->pages)
		r = -EBADMSG;
	if (r == -ENOMEM)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a page map");
	return r < 0 ? err_set(e, ERR_USER, EBADMSG, "%s is damaged: a page map", archive_path(a))
	             : 0;
}
