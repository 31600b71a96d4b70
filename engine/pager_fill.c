// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pager_fill.c - UFFDIO_COPY and its many answers.
 *
 * A fill never overwrites: a page that is there already counts as done. While an
 * event of the process waits to be read the kernel refuses with EAGAIN; the caller
 * lets go of the space, has the event read, and looks at the state anew.
 */
#include "engine/pager.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

/* Return: bytes done (>= 0), or -errno with nothing done */
static int64_t copy_some(struct space *s, uint64_t cur, const void *data, uint64_t bytes)
{
	if (data) {
		struct uffdio_copy c = { .dst = cur, .src = (uintptr_t)data, .len = bytes };

		if (ioctl(s->uffd, UFFDIO_COPY, &c) == 0)
			return (int64_t)bytes;
		return c.copy > 0 ? c.copy : -errno;
	}
	struct uffdio_zeropage z = { .range = { cur, bytes } };

	if (ioctl(s->uffd, UFFDIO_ZEROPAGE, &z) == 0)
		return (int64_t)bytes;
	return z.zeropage > 0 ? z.zeropage : -errno;
}

static void wake(struct space *s, uint64_t cur, uint64_t bytes)
{
	struct uffdio_range r = { cur, bytes };

	ioctl(s->uffd, UFFDIO_WAKE, &r);
}

int fill_pages(struct space *s, uint64_t cur, const void *data, size_t pages)
{
	const uint8_t *from = data;
	uint64_t left = (uint64_t)pages * ENG_PAGE_BYTES, piece = left;

	while (left) {
		int64_t n = copy_some(s, cur, from, piece < left ? piece : left);

		switch (n) {
		case -EEXIST:
			wake(s, cur, ENG_PAGE_BYTES);
			n = ENG_PAGE_BYTES;
			break;
		case -ENOENT:
		case -EINVAL:
		case -EFAULT:
			/* the piece crosses a border, or its mapping is gone: page by page */
			if (piece > ENG_PAGE_BYTES) {
				piece = ENG_PAGE_BYTES;
				continue;
			}
			wake(s, cur, ENG_PAGE_BYTES);
			n = ENG_PAGE_BYTES;
			break;
		case -EAGAIN:
			return -EAGAIN;
		case -ESRCH:
		case -ENOSPC:
			return -ESRCH;
		default:
			if (n < 0)
				return (int)n;
		}
		waiting_done(s->p, s, cur, (uint64_t)n >> ENG_PAGE_SHIFT);
		space_consume(s, cur, (uint64_t)n >> ENG_PAGE_SHIFT);
		cur += (uint64_t)n;
		left -= (uint64_t)n;
		if (from)
			from += n;
	}
	return 0;
}

int fill_local(struct space *s, uint64_t cur, size_t pages, uint8_t *buf)
{
	struct err e = ERR_INIT;

	while (pages) {
		uint64_t orig = space_orig(s, cur);
		enum page_state st = PAGE_ABSENT;
		size_t n = s->moves ? 1 : pages;

		n = s->store ? sobj_span(s->store, orig, n, &st) : 0;
		if (n == 0 || st == PAGE_ABSENT) {
			err_set(&e, ERR_BUG, ENODATA, "page %llx of pid %d is not in the store",
			        (unsigned long long)cur, s->pid);
			pager_fail(s->p, &e);
			return -ENODATA;
		}
		if (st == PAGE_DATA && sobj_read(s->store, orig, buf, n, &e) < 0) {
			pager_fail(s->p, &e);
			return -EIO;
		}
		int r = fill_pages(s, cur, st == PAGE_DATA ? buf : NULL, n);

		if (r < 0)
			return r;
		cur += n * ENG_PAGE_BYTES;
		pages -= n;
	}
	return 0;
}
