// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * calm.c - scan memory of which little was written, at a quarter of the cost.
 *
 * Asked only for "written", the kernel walks page tables with one test for each entry (a fast path
 * in fs/proc/task_mmu.c) and names every entry that is not write-protected: written ones, zero
 * pages, empty ones. An entry that it does not name is protected, therefore present and clean -
 * unless it has no page table at all: kernel 6.18 names those too, but no interface promises that.
 * So the named entries are asked about in full, and each 2 MiB is asked once whether it has a page
 * table.
 */
#include "engine/tracker/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/page.h"
#include "engine/proc/proc.h"

#define TABLE_BYTES  (2ULL << 20) /* memory that one page table maps */
#define WINDOW_BYTES (64ULL << 20)

/*
 * A question costs as much as plainly reading some forty entries; more questions than that do not
 * pay.
 */
#define ASK_MAX_PER_TABLE 8

static long named(int pagemap, uint64_t start, uint64_t end, struct page_region *v, uint64_t n)
{
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = start,
		.end = end,
		.vec = (uintptr_t)v,
		.vec_len = n,
		.flags = PM_SCAN_CHECK_WPASYNC,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	long r = ioctl(pagemap, PAGEMAP_SCAN, &a);

	return r < 0 ? -errno : r;
}

/* Return: 1 and the first present page in [start, end); 0: none; -errno */
static int first_there(const struct look_at *l, uint64_t start, uint64_t end, uint64_t *page)
{
	struct page_region v;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = start,
		.end = end,
		.vec = (uintptr_t)&v,
		.vec_len = 1,
		.max_pages = 1,
		.category_inverted = l->t->guard,
		.category_mask = l->t->guard,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	long n = ioctl(l->pagemap, PAGEMAP_SCAN, &a);

	if (n < 0)
		return -errno;
	*page = v.start;
	return n > 0;
}

static int in_full(const struct look_at *l, uint64_t at, uint64_t end, struct page_region *vec,
                   look_out_fn out, void *arg)
{
	while (at < end) {
		long n = l->t->ops->look(l, &at, end, vec);
		int r = n < 0 ? (int)n : out(arg, vec, (size_t)n);

		if (r < 0)
			return r;
	}
	return 0;
}

/* [start, end) has a page table; @v: the named entries, which may extend beyond it */
static int one_table(const struct look_at *l, uint64_t start, uint64_t end,
                     const struct page_region *v, size_t n, struct page_region *vec,
                     look_out_fn out, void *arg)
{
	uint64_t at = start;
	int r = 0;

	if (n > ASK_MAX_PER_TABLE)
		return in_full(l, start, end, vec, out, arg);
	for (size_t i = 0; r == 0 && i <= n; i++) {
		uint64_t from = i == n ? end : v[i].start < at ? at : v[i].start;
		uint64_t to = i == n || v[i].end > end ? end : v[i].end;
		struct page_region calm = { at, from, PAGE_IS_WPALLOWED };

		if (from > at)
			r = out(arg, &calm, 1);
		if (r)
			return r;
		if (to > from)
			r = in_full(l, from, to, vec, out, arg);
		at = to > at ? to : at;
	}
	return r;
}

static int window(const struct look_at *l, uint64_t at, uint64_t end, struct look_room *room,
                  look_out_fn out, void *arg)
{
	long n = named(l->pagemap, at, end, room->named, VEC_REGIONS);
	size_t i = 0;
	int r;

	if (n < 0 || n == VEC_REGIONS)
		return in_full(l, at, end, room->vec, out, arg);
	while (at < end && (r = first_there(l, at, end, &at)) != 0) {
		uint64_t next = (at & ~(TABLE_BYTES - 1)) + TABLE_BYTES;
		size_t k;

		if (r < 0)
			return r;
		next = next < end ? next : end;
		while (i < (size_t)n && room->named[i].end <= at)
			i++;
		for (k = i; k < (size_t)n && room->named[k].start < next; k++)
			;
		r = one_table(l, at, next, &room->named[i], k - i, room->vec, out, arg);
		if (r < 0)
			return r;
		at = next;
	}
	return 0;
}

int calm_look(const struct look_at *l, uint64_t start, uint64_t end, struct look_room *room,
              look_out_fn out, void *arg)
{
	int r = 0;

	if (!l->t->calm || !l->p || l->vma->kind != VMA_ANON_PRIVATE)
		return in_full(l, start, end, room->vec, out, arg);
	/* memory that is reserved and empty, perhaps terabytes, is skipped at once */
	for (uint64_t at = start, to; at < end && (r = first_there(l, at, end, &at)) > 0; at = to) {
		to = (at & ~(WINDOW_BYTES - 1)) + WINDOW_BYTES;
		to = to < end ? to : end;
		r = window(l, at, to, room, out, arg);
		if (r < 0)
			break;
	}
	return r;
}

/* Of three pages one written, one protected, one never touched: the first and third are named. */
static bool named_right(int uffd, uint8_t *p)
{
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct uffdio_register reg = { .range = { (uintptr_t)p, 3 * PAGE_BYTES },
		                       .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)p + PAGE_BYTES, PAGE_BYTES },
		                          .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct page_region v[3];

	madvise(p, 3 * PAGE_BYTES, MADV_NOHUGEPAGE);
	p[0] = p[PAGE_BYTES] = 1;
	return ioctl(uffd, UFFDIO_REGISTER, &reg) == 0 &&
	       ioctl(uffd, UFFDIO_WRITEPROTECT, &wp) == 0 && map >= 0 &&
	       named(map, (uintptr_t)p, (uintptr_t)p + 3 * PAGE_BYTES, v, 3) == 2 &&
	       v[0].start == (uintptr_t)p && v[0].end == (uintptr_t)p + PAGE_BYTES &&
	       v[1].start == (uintptr_t)p + 2 * PAGE_BYTES &&
	       v[1].end == (uintptr_t)p + 3 * PAGE_BYTES;
}

bool calm_kernel(void)
{
	AUTO(fd) int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	void *p = mmap(NULL, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	               -1, 0);
	bool ok = uffd >= 0 && p != MAP_FAILED && scan_uffd_api(uffd) == 0 && named_right(uffd, p);

	if (p != MAP_FAILED)
		munmap(p, 3 * PAGE_BYTES);
	return ok;
}
