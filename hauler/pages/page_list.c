// SPDX-License-Identifier: GPL-2.0-or-later
/* page_list.c - page runs of several objects. */
#include "hauler/pages/page_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int page_list_add(struct page_list *l, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	if (l->n == 0 || l->v[l->n - 1].obj != obj) {
		struct page_list_part *v = realloc(l->v, (l->n + 1) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->v[l->n++] = (struct page_list_part){ .obj = obj };
	}
	return runs_add(&l->v[l->n - 1].runs, vaddr, pages);
}

void page_list_fini(struct page_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		runs_fini(&l->v[i].runs);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

const struct runs *page_list_of(const struct page_list *l, uint64_t obj)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].obj == obj)
			return &l->v[i].runs;
	return NULL;
}
