/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pagemap.h - where in an archive the pages of one object are. */
#ifndef HAUL_ARCHIVE_PAGEMAP_H
#define HAUL_ARCHIVE_PAGEMAP_H

#include "archive/archive.h"

struct Archive__Object;

struct pagemap_run {
	uint64_t vaddr, pages;
	uint64_t piece; /* 0: the pages are zero */
	uint32_t first; /* page within the piece */
	uint32_t round; /* in which they were last written */
};

struct pagemap {
	struct pagemap_run *v; /* ascending */
	size_t n, cap;
	uint64_t pages;
};

/** pagemap_add() - append a run; continues the last run if it can. Return: 0; -ENOMEM */
int pagemap_add(struct pagemap *m, const struct pagemap_run *r);
/** pagemap_find() - the run that holds @vaddr, or the next one above; NULL: none */
const struct pagemap_run *pagemap_find(const struct pagemap *m, uint64_t vaddr);
/** pagemap_save() - into @o->map and @o->pages */
int pagemap_save(struct archive *a, const struct pagemap *m, struct Archive__Object *o,
                 struct err *e);
/** pagemap_load() - the map of @o, checked: ascending, every page within its piece */
int pagemap_load(struct archive *a, const struct Archive__Object *o, struct pagemap *out,
                 struct err *e);
/** pagemap_unpack() - the same from bytes. Return: 0; -EBADMSG; -ENOMEM */
int pagemap_unpack(struct archive *a, const uint8_t *in, size_t bytes, struct pagemap *out);
void pagemap_fini(struct pagemap *m);
static inline void auto_pagemap(struct pagemap *m)
{
	pagemap_fini(m);
}

#endif
