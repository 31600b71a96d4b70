// SPDX-License-Identifier: GPL-2.0-or-later
/* img_rseq.c - the pages of a task that the restorer writes before the program runs. */
#include <stdlib.h>

#include "common/page.h"
#include "engine/images/img.h"

#define RSEQ_LAST 31 /* offset of the last byte of a thread's rseq area */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int img_rseq_pages(int dirfd, const struct img_task *t, uint64_t **out, size_t *n, struct err *e)
{
	AUTO(mem) uint64_t *v = calloc(2 * (size_t)t->n_threads + 1, sizeof(*v));

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	*n = 0;
	for (unsigned int i = 0; i < t->n_threads; i++) {
		struct img_core core;

		if (img_core(dirfd, t->threads[i], &core, e) < 0)
			return err_code(e);
		if (!core.rseq)
			continue;
		v[(*n)++] = core.rseq & ~(uint64_t)(PAGE_BYTES - 1);
		v[(*n)++] = (core.rseq + RSEQ_LAST) & ~(uint64_t)(PAGE_BYTES - 1);
	}
	qsort(v, *n, sizeof(*v), by_value);
	*out = steal(v);
	return 0;
}
