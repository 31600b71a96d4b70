// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-pagemap.c - any bytes as a page map of an archive with two pieces, of 128 pages and of one: what is
 * taken is ascending, within 2^56, and names only pages that the pieces have. It runs the files
 * given; with -DLIBFUZZER the fuzzer does.
 */
#include "archive/pagemap.h"

#include <stdlib.h>

#include "archive/priv.h"
#include "replay.h"

static struct piece pieces[] = {
	{ .stored = 1, .raw = ARCHIVE_PIECE_BYTES },
	{ .stored = 1, .raw = PAGE_BYTES },
};

static void check(const struct pagemap *m)
{
	uint64_t at = 0, pages = 0;

	for (size_t i = 0; i < m->n; i++) {
		const struct pagemap_run *r = &m->v[i];
		uint64_t end = r->vaddr + r->pages * PAGE_BYTES;

		if (r->vaddr < at || end <= r->vaddr || end > 1ULL << 56 || r->piece > 2 ||
		    (r->piece && (r->first + r->pages) * PAGE_BYTES > pieces[r->piece - 1].raw) ||
		    pagemap_find(m, r->vaddr) != r || pagemap_find(m, end - 1) != r)
			abort();
		at = end;
		pages += r->pages;
	}
	if (pages != m->pages)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct archive a = { .pieces = { PTHREAD_MUTEX_INITIALIZER, pieces, 2, 2 } };
	AUTO(pagemap) struct pagemap m = { 0 };

	if (pagemap_unpack(&a, p, bytes, &m) == 0)
		check(&m);
	return 0;
}
