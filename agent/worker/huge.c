// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * huge.c - huge pages at the destination. The pager fills page by page; when it is done, memory
 * whose program asked for huge pages is collapsed into huge pages again, while the program runs.
 * Only where all small pages are present: the program does not grow.
 */
#include "agent/worker/huge.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/berth/berth.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/tracker.h"

#define HUGE_BYTES (2ULL << 20)
#define IOV_MAX_N  64 /* a call must not block the program for long */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

struct batch {
	pid_t pid;
	int pidfd;
	struct runs present;
	struct iovec v[IOV_MAX_N];
	size_t n;
	uint64_t done, refused;
};

static int add_run(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	struct batch *b = arg;

	(void)flags;
	if (pid != b->pid || vma->kind != VMA_ANON_PRIVATE)
		return 0;
	return runs_add(&b->present, vaddr, pages);
}

/* One call for each: it would end at the first range for which the kernel has no huge page. */
static void flush(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (syscall(SYS_process_madvise, b->pidfd, &b->v[i], 1, MADV_COLLAPSE, 0) > 0)
			b->done++;
		else
			b->refused++;
	b->n = 0;
}

static void collapse(struct batch *b, uint64_t start, uint64_t end)
{
	const struct runs *present = &b->present;

	start = (start + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
	for (uint64_t at = start; at + HUGE_BYTES <= end; at += HUGE_BYTES) {
		size_t i = runs_find(present, at);

		if (i == present->n)
			return;
		const struct run *r = &present->v[i];

		if (r->vaddr >= at + HUGE_BYTES) { /* nothing here for a while */
			at = r->vaddr / HUGE_BYTES * HUGE_BYTES - HUGE_BYTES;
			continue;
		}
		if (r->vaddr > at || r->vaddr + r->pages * PAGE_BYTES < at + HUGE_BYTES)
			continue;
		b->v[b->n++] = (struct iovec){ (void *)(uintptr_t)at, HUGE_BYTES };
		if (b->n == IOV_MAX_N)
			flush(b);
	}
	flush(b);
}

static void task(struct wrk *w, pid_t pid)
{
	pid_t here = berth_pid(w, pid);
	struct batch b = { .pid = here, .pidfd = (int)syscall(SYS_pidfd_open, here, 0) };
	AUTO(fd) int pidfd = b.pidfd;
	AUTO(tracker) struct tracker *trk = NULL;
	struct img_vmas *v = NULL;
	struct tracker_stats st;
	struct err e = ERR_INIT;
	uint64_t start, end;
	size_t at = 0;

	if (pidfd < 0 || img_vmas(w->images_fd, pid, &v, &e) < 0)
		return;
	if (img_vmas_huge(v, &at, &start, &end) && tracker_new(&trk, here, TRACKER_NONE, &e) == 0 &&
	    tracker_final(trk, add_run, &b, &st, &e) == 0)
		do
			collapse(&b, start, end);
		while (img_vmas_huge(v, &at, &start, &end));
	img_vmas_free(v);
	runs_fini(&b.present);
	if (b.done || b.refused)
		log_info("pid=%d huge_pages=%llu refused=%llu", pid, (unsigned long long)b.done,
		         (unsigned long long)b.refused);
}

void huge_again(struct wrk *w)
{
	struct img_tree tree = { 0 };
	struct err e = ERR_INIT;

	if (img_tree(w->images_fd, &tree, &e) < 0)
		log_warn("huge pages are left to the kernel: %s", e.msg);
	for (size_t i = 0; i < tree.n; i++)
		task(w, tree.v[i].pid);
	img_tree_fini(&tree);
}
