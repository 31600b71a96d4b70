/* SPDX-License-Identifier: GPL-2.0-or-later */
/* class_runs.h - runs of pages with their class, as the final page map has them. */
#ifndef HAUL_CLASS_RUNS_H
#define HAUL_CLASS_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* flags of an entry of CRIU's page maps, on disk and in its page stream */
#define PE_PARENT  1u
#define PE_LAZY    2u
#define PE_PRESENT 4u

/** Classes of pages in the final pagemap; also the wire's numbers. */
enum page_class { PC_LAZY_HERE = 0, PC_LAZY_REMOTE = 1, PC_EAGER = 2, PC_N = 3 };

struct class_run {
	uint64_t vaddr, pages;
	enum page_class class;
};
struct class_runs {
	struct class_run *v;
	size_t n, cap;
};
/** class_runs_add() - append in ascending order, merging equal neighbours */
int class_runs_add(struct class_runs *r, uint64_t vaddr, uint64_t pages, enum page_class class);
void class_runs_fini(struct class_runs *r);
static inline void auto_class_runs(struct class_runs *r)
{
	class_runs_fini(r);
}
/** class_runs_pack() / class_runs_unpack() - varints: gap, pages, class. @out: caller frees */
int class_runs_pack(const struct class_runs *r, uint8_t **out, size_t *bytes);
int class_runs_unpack(const uint8_t *in, size_t bytes, struct class_runs *r, struct err *e);

#endif
