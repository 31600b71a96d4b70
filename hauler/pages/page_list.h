/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page_list.h - page runs of several objects, in the order in which a scan found them. */
#ifndef HAUL_PAGE_LIST_H
#define HAUL_PAGE_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "engine/runs.h"

/* Pages of one object: a process, shared memory. */
struct page_list_part {
	uint64_t obj;
	struct runs runs;
};

struct page_list {
	struct page_list_part *v;
	size_t n;
};

/** page_list_add() - append a run; those of one object follow each other. Return: 0; -ENOMEM */
int page_list_add(struct page_list *l, uint64_t obj, uint64_t vaddr, uint64_t pages);
/** page_list_of() - the runs of @obj; NULL: it has none */
const struct runs *page_list_of(const struct page_list *l, uint64_t obj);
void page_list_fini(struct page_list *l);

#endif
