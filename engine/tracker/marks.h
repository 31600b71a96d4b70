/* SPDX-License-Identifier: GPL-2.0-or-later */
/* marks.h - a word for each page of a process, for those that have one. */
#ifndef HAUL_MARKS_H
#define HAUL_MARKS_H

#include <stddef.h>
#include <stdint.h>

#define MARKS_BLOCK 512 /* pages */

struct marks_block {
	uint64_t number; /* address of its first page / its bytes */
	uint64_t word[MARKS_BLOCK];
};

struct marks {
	struct marks_block *v; /* ascending */
	size_t n, cap;
};

/** marks_add() - @word for the page at @vaddr; ascending. Return: 0; -ENOMEM */
int marks_add(struct marks *m, uint64_t vaddr, uint64_t word);
/** marks_get() - 0: none. @at: where the last call ended; 0 at first */
uint64_t marks_get(const struct marks *m, size_t *at, uint64_t vaddr);
void marks_fini(struct marks *m);

#endif
