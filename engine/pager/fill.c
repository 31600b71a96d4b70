// SPDX-License-Identifier: GPL-2.0-or-later
/* fill.c - the ioctls of userfaultfd, and what their errors mean. */
#include "engine/pager/priv.h"

#include <string.h>
#include <sys/ioctl.h>

#include "common/log.h"
#include "common/page.h"

void fill_wake(const struct space *s, uint64_t start, uint64_t end)
{
	struct uffdio_range r = { .start = start, .len = end - start };

	if (s->uffd >= 0 && end > start)
		ioctl(s->uffd, UFFDIO_WAKE, &r);
}

bool fill_alive(const struct space *s)
{
	/* Nothing is write-protected: this only tells whether the address space still exists. */
	struct uffdio_writeprotect w = { .range = { .start = ADDR_END / 2, .len = PAGE_BYTES } };

	return s->uffd < 0 || ioctl(s->uffd, UFFDIO_WRITEPROTECT, &w) == 0 || errno != ESRCH;
}

/*
 * One ioctl. Return: bytes that were put in place, at most as many as asked for; -errno. EAGAIN
 * without progress means that an event waits; older kernels then leave the count unchanged.
 */
static int64_t place(const struct space *s, uint64_t cur, uint64_t bytes, const void *data)
{
	struct uffdio_copy c = { .dst = cur, .src = (uintptr_t)data, .len = bytes };
	struct uffdio_zeropage z = { .range = { .start = cur, .len = bytes } };
	int r = data ? ioctl(s->uffd, UFFDIO_COPY, &c) : ioctl(s->uffd, UFFDIO_ZEROPAGE, &z);
	int64_t done = data ? c.copy : z.zeropage;

	if (r == 0)
		return (int64_t)bytes;
	if (errno == EAGAIN && done > 0)
		return done;
	return -errno;
}

static int64_t place_or_why(const struct space *s, uint64_t cur, uint64_t *bytes, const void *data)
{
	int64_t r;

	/*
	 * The range is not one mapping of ours, perhaps several: try smaller pieces. A single page
	 * is tried twice: the kernel looks for the mapping before it looks for waiting events, so
	 * mremap() may have moved it in between; then the second try returns EAGAIN, because no
	 * thread can read that event while fam->lock is held.
	 */
	for (int again = 1;;) {
		r = place(s, cur, *bytes, data);
		if (r != -ENOENT && r != -EINVAL)
			return r;
		if (*bytes > PAGE_BYTES)
			*bytes = (*bytes / PAGE_BYTES + 1) / 2 * PAGE_BYTES;
		else if (again-- == 0)
			return r;
	}
}

static void note_lost(struct space *s, uint64_t orig, uint64_t cur)
{
	if (__atomic_fetch_add(&s->fam->p->lost_pages, 1, __ATOMIC_RELAXED) == 0)
		log_warn("pid %d: page %llx, now %llx, has no mapping to go to", s->pid,
		         (unsigned long long)orig, (unsigned long long)cur);
}

/* Fill a run of pages that are all missing; *@pages becomes the number of pages done. */
static int fill_run(struct space *s, uint64_t orig, size_t *pages, const uint8_t *data,
                    unsigned int kinds)
{
	uint64_t span = 1, cur = space_cur(s, orig, &span);
	uint64_t bytes = (*pages < span ? *pages : span) * PAGE_BYTES;
	int64_t r = cur == ADDR_NONE ? -ENOENT : place_or_why(s, cur, &bytes, data);

	*pages = 1;
	switch (r) {
	case -EEXIST:
		/* another thread was quicker, and its wake may have preceded the fault */
		space_done(s, orig, 1, kinds);
		fill_wake(s, cur, cur + PAGE_BYTES);
		return 0;
	case -ENOENT:
	case -EINVAL:
		note_lost(s, orig, cur);
		space_done(s, orig, 1, kinds);
		if (cur != ADDR_NONE)
			fill_wake(s, cur, cur + PAGE_BYTES);
		return 0;
	case -ENOSPC: /* kernels before 4.13 */
		return -ESRCH;
	default:
		if (r < 0)
			return (int)r;
		*pages = (size_t)(r / PAGE_BYTES);
		pager_at(PAT_FILLED);
		space_done(s, orig, *pages, kinds);
		return 0;
	}
}

int fill_pages(struct space *s, uint64_t orig, size_t pages, const uint8_t *data,
               unsigned int kinds)
{
	for (size_t i = 0; i < pages;) {
		uint64_t at = orig + i * PAGE_BYTES;
		struct pchunk *c = space_chunk(s, at);
		size_t n = 0, max = pages - i;
		size_t first = (at >> PAGE_BITS) % PCHUNK_PAGES;

		if (max > PCHUNK_PAGES - first)
			max = PCHUNK_PAGES - first;
		while (c && n < max &&
		       (BIT(__atomic_load_n(&c->st[first + n], __ATOMIC_ACQUIRE)) & kinds))
			n++;
		if (n == 0) {
			i += c ? 1 : max;
			continue;
		}
		/* zeros for which no thread waits: a later fault gets them */
		if (!data)
			space_done(s, at, n, kinds & ~KIND_ASKED);
		if (!data && !space_any(s, at, n, KIND_ASKED)) {
			i += n;
			continue;
		}
		int r = fill_run(s, at, &n, data ? data + i * PAGE_BYTES : NULL, kinds);

		if (r < 0)
			return r;
		i += n;
	}
	return 0;
}

int fill_zero(struct space *s, uint64_t cur, bool for_write)
{
	static const uint8_t zeros[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
	/* a page of its own at once: the shared zero page would fault again */
	int64_t r = place(s, cur, PAGE_BYTES, for_write ? zeros : NULL);

	if (r == -EAGAIN || r == -ENOMEM || r == -ESRCH)
		return (int)r;
	if (r == -ENOSPC)
		return -ESRCH;
	if (r < 0) /* already there, or unmapped: the thread will find out */
		fill_wake(s, cur, cur + PAGE_BYTES);
	return 0;
}
