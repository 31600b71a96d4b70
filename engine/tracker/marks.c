// SPDX-License-Identifier: GPL-2.0-or-later
/* marks.c - a word for each page of a process; blocks without a page take no room. */
#include "engine/tracker/marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/page.h"

#define BLOCK_BYTES ((uint64_t)MARKS_BLOCK * PAGE_BYTES)

int marks_add(struct marks *m, uint64_t vaddr, uint64_t word)
{
	uint64_t number = vaddr / BLOCK_BYTES;

	if (m->n == 0 || m->v[m->n - 1].number != number) {
		if (m->n == m->cap) {
			size_t cap = m->cap ? m->cap + m->cap / 2 : 64;
			struct marks_block *v = realloc(m->v, cap * sizeof(*v));

			if (!v)
				return -ENOMEM;
			m->v = v;
			m->cap = cap;
		}
		memset(&m->v[m->n], 0, sizeof(m->v[m->n]));
		m->v[m->n++].number = number;
	}
	m->v[m->n - 1].word[vaddr % BLOCK_BYTES / PAGE_BYTES] = word;
	return 0;
}

/* The first block that is not before @number. */
static size_t find(const struct marks *m, uint64_t number)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->v[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint64_t marks_get(const struct marks *m, size_t *at, uint64_t vaddr)
{
	uint64_t number = vaddr / BLOCK_BYTES;

	if (*at >= m->n || m->v[*at].number != number)
		*at = find(m, number);
	if (*at >= m->n || m->v[*at].number != number)
		return 0;
	return m->v[*at].word[vaddr % BLOCK_BYTES / PAGE_BYTES];
}

void marks_fini(struct marks *m)
{
	free(m->v);
	memset(m, 0, sizeof(*m));
}
