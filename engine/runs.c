// SPDX-License-Identifier: GPL-2.0-or-later
/* runs.c - ascending lists of page runs. */
#include "engine/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/page.h"

int runs_add(struct runs *r, uint64_t vaddr, uint64_t pages)
{
	struct run *last = r->n ? &r->v[r->n - 1] : NULL;

	r->pages += pages;
	if (last && last->vaddr + last->pages * PAGE_BYTES == vaddr) {
		last->pages += pages;
		return 0;
	}
	if (array_grow(&r->v, r->n, &r->cap, sizeof(*r->v)) < 0)
		return -ENOMEM;
	r->v[r->n++] = (struct run){ vaddr, pages };
	return 0;
}

size_t runs_find(const struct runs *r, uint64_t vaddr)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->v[mid].vaddr + r->v[mid].pages * PAGE_BYTES <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void runs_fini(struct runs *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}
