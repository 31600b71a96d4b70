// SPDX-License-Identifier: GPL-2.0-or-later
/* class_runs.c - page runs with a class: the final page map, in memory and packed. */
#include "engine/images/class_runs.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/page.h"

#define VADDR_MAX (1ULL << 47)

int class_runs_add(struct class_runs *r, uint64_t vaddr, uint64_t pages, enum page_class class)
{
	struct class_run *last = r->n ? &r->v[r->n - 1] : NULL;

	if (last && last->class == class && last->vaddr + last->pages * PAGE_BYTES == vaddr) {
		last->pages += pages;
		return 0;
	}
	if (array_grow(&r->v, r->n, &r->cap, sizeof(*r->v)) < 0)
		return -ENOMEM;
	r->v[r->n++] = (struct class_run){ .vaddr = vaddr, .pages = pages, .class = class };
	return 0;
}

void class_runs_fini(struct class_runs *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* Return: 0, and *at advances; -EBADMSG */
static int get_varint(const uint8_t *in, size_t bytes, size_t *at, uint64_t *v)
{
	*v = 0;
	for (unsigned int shift = 0; shift < 63; shift += 7) {
		if (*at == bytes)
			return -EBADMSG;
		uint8_t b = in[(*at)++];

		*v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return 0;
	}
	return -EBADMSG;
}

int class_runs_pack(const struct class_runs *r, uint8_t **out, size_t *bytes)
{
	uint8_t *buf = malloc(r->n * 21 + 1), *p = buf;
	uint64_t at_page = 0;

	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < r->n; i++) {
		uint64_t first = r->v[i].vaddr >> PAGE_BITS;

		p = put_varint(p, first - at_page);
		p = put_varint(p, r->v[i].pages);
		p = put_varint(p, r->v[i].class);
		at_page = first + r->v[i].pages;
	}
	*out = buf;
	*bytes = (size_t)(p - buf);
	return 0;
}

int class_runs_unpack(const uint8_t *in, size_t bytes, struct class_runs *r, struct err *e)
{
	uint64_t at_page = 0, gap, pages, class;
	const uint64_t max_page = VADDR_MAX >> PAGE_BITS;

	for (size_t at = 0; at < bytes;) {
		if (get_varint(in, bytes, &at, &gap) < 0 ||
		    get_varint(in, bytes, &at, &pages) < 0 ||
		    get_varint(in, bytes, &at, &class) < 0)
			return err_set(e, ERR_PEER, EBADMSG, "page map is cut short");
		if (gap > max_page - at_page || pages == 0 || pages > max_page - at_page - gap ||
		    class >= PC_N)
			return err_set(e, ERR_PEER, EBADMSG, "page map has a run out of range");
		if (class_runs_add(r, (at_page + gap) << PAGE_BITS, pages,
		                   (enum page_class) class) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for the page map");
		at_page += gap + pages;
	}
	return 0;
}
