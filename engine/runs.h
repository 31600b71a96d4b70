/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runs.h - ascending lists of page runs. */
#ifndef HAUL_RUNS_H
#define HAUL_RUNS_H

#include <stddef.h>
#include <stdint.h>

struct run {
	uint64_t vaddr; /* page aligned */
	uint64_t pages;
};

struct runs {
	struct run *v;
	size_t n, cap;
	uint64_t pages; /* sum */
};

/** runs_add() - append; merges with the last run when adjacent. Return: 0; -ENOMEM */
int runs_add(struct runs *r, uint64_t vaddr, uint64_t pages);
/** runs_find() - the run that holds @vaddr, or the first behind it; r->n if none */
size_t runs_find(const struct runs *r, uint64_t vaddr);
void runs_fini(struct runs *r);
static inline void auto_runs(struct runs *r)
{
	runs_fini(r);
}

#endif
