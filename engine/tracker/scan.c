// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * scan.c - which pages were written: PAGEMAP_SCAN over memory registered for asynchronous write
 * protection (userfaultfd WP_ASYNC, kernel 6.7).
 *
 * A scan reports written pages and protects them again in one step, so no write is lost and the
 * process never stops. A mapping found unregistered is registered and reported whole, in the same
 * scan.
 */
#include "engine/tracker/priv.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/proc/hold.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/tracker.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#define UFFD_FEATURES                                                                              \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

/* ---- probing ---- */

int scan_uffd_api(int fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURES };

	return ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

/* Does the kernel know a scan that asks for @mask, of which @inverted have to be clear? */
static bool scan_knows(uint64_t mask, uint64_t inverted)
{
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct page_region r;
	struct pm_scan_arg a = { .size = sizeof(a), .vec = (uintptr_t)&r, .vec_len = 1 };

	a.start = (uintptr_t)&a / PAGE_BYTES * PAGE_BYTES;
	a.end = a.start + PAGE_BYTES;
	a.category_inverted = inverted;
	a.category_mask = mask;
	a.return_mask = PAGE_IS_PRESENT;
	return map >= 0 && ioctl(map, PAGEMAP_SCAN, &a) >= 0;
}

bool scan_kernel(void)
{
	return scan_knows(PAGE_IS_PRESENT, 0);
}

/* A guard marker looks like a swapped page unless the scan asks for guard markers. */
uint64_t scan_guard(void)
{
	return scan_knows(PAGE_IS_GUARD, PAGE_IS_GUARD) ? PAGE_IS_GUARD : 0;
}

static int probe(struct err *e)
{
	AUTO(fd) int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);

	if (fd < 0 || scan_uffd_api(fd) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "userfaultfd has no WP_ASYNC (kernel 6.7)");
	if (!scan_kernel())
		return err_set(e, ERR_SYS, ENOTSUP, "no PAGEMAP_SCAN (kernel 6.7)");
	return 0;
}

/* ---- processes ---- */

static void detach(struct tproc *p)
{
	if (p->uffd >= 0)
		close(steal_fd(&p->uffd)); /* the kernel unregisters everything */
	runs_fini(&p->foreign);
}

static int attach(struct tracker *t, struct tproc *p)
{
	struct err e = ERR_INIT;
	uint64_t t0 = now_us();
	int r = inject_uffd(p->pid, &p->uffd, &e);

	if (now_us() - t0 > t->stopped_us)
		t->stopped_us = now_us() - t0;
	if (r == 0)
		r = scan_uffd_api(p->uffd);
	p->fresh = true;
	if (r < 0) {
		detach(p);
		if (r != -ESRCH)
			tracker_not(p, e.msg[0] ? e.msg : strerror(-r));
	}
	return r;
}

/* ---- a round ---- */

/*
 * Scan one mapping, from @from on. @all: every page counts as written (first time seen).
 * Return: 0; -EPERM not registered, @from is the first address not reported; -ESRCH gone; the
 * error of emit (with *stop)
 */
static int scan_vma(struct scan *s, uint64_t *from, bool all, bool *stop)
{
	/* the kernel would look at the struct of every page: 8 ms for a GiB */
	uint64_t file = s->vma->kind == VMA_FILE_PRIVATE ? PAGE_IS_FILE : 0;
	uint64_t not = file | PAGE_IS_PFNZERO | s->t->guard;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = *from,
		.end = s->vma->end,
		.vec = (uintptr_t)s->t->vec,
		.vec_len = VEC_REGIONS,
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.category_inverted = not,
		.category_mask = not | (all ? 0 : PAGE_IS_WRITTEN),
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	while (a.start < a.end) {
		a.walk_end = 0;
		long n = ioctl(s->pagemap, PAGEMAP_SCAN, &a);

		if (n < 0)
			return errno == EPERM ? -EPERM : -ESRCH;
		int r = tracker_report(s, s->t->vec, (size_t)n);

		if (r < 0) {
			*stop = true;
			return r;
		}
		/*
		 * The kernel returns regions in batches of its own, and as walk_end the end of the
		 * last full batch, even if it has scanned to the end (6.18). Continuing from there
		 * would report and re-arm pages twice in one round. A vector that is not full
		 * means the end was reached.
		 */
		if (n < VEC_REGIONS)
			break;
		a.start = s->t->vec[n - 1].end > a.walk_end ? s->t->vec[n - 1].end : a.walk_end;
		*from = a.start;
	}
	return 0;
}

static int do_register(const struct scan *s)
{
	struct uffdio_register reg = {
		.range = { s->vma->start, s->vma->end - s->vma->start },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	return ioctl(s->p->uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

/* The descriptor belongs to memory that is gone: its process has called exec(). */
static bool has_left(const struct scan *s)
{
	struct uffdio_writeprotect wp = { .range = { s->vma->start, PAGE_BYTES } };

	return ioctl(s->p->uffd, UFFDIO_WRITEPROTECT, &wp) < 0 && errno == ESRCH;
}

static int leave_vma(struct scan *s)
{
	return runs_add(&s->p->foreign, s->vma->start, (s->vma->end - s->vma->start) >> PAGE_BITS);
}

static int register_and_scan(struct scan *s, uint64_t *from, bool *stop)
{
	int r = do_register(s);

	return r < 0 ? r : scan_vma(s, from, true, stop);
}

/*
 * A mapping that is not registered: register, then report all of it from @from on. If it is still
 * not registered, the descriptor belongs to memory from before an exec().
 */
static int scan_new_vma(struct scan *s, uint64_t from, bool *stop)
{
	int r = register_and_scan(s, &from, stop);

	if (*stop || r == 0)
		return r;
	s->st->vmas_untracked += r == -EBUSY;
	if (r == -EBUSY) /* its written pages belong to the program that registered it first */
		return leave_vma(s);
	if (r == -EPERM || r == -ESRCH || has_left(s)) {
		detach(s->p);
		r = attach(s->t, s->p);
		if (r == 0)
			r = register_and_scan(s, &from, stop);
		if (*stop || r == 0)
			return r;
	}
	s->st->vmas_untracked++;
	/* a scan may already have protected some of it without reporting it */
	return leave_vma(s);
}

/*
 * A scan tells that a mapping is registered, but not by which program: a mapping that is new to us
 * is registered first, which fails if another program has registered it.
 */
static int one_vma(struct scan *s, bool ours, bool *stop)
{
	uint64_t from = s->vma->start;
	int r = ours ? scan_vma(s, &from, false, stop) : -EPERM;

	return r == -EPERM && !*stop ? scan_new_vma(s, from, stop) : r;
}

/*
 * A mapping of shared memory. One that may not be registered cannot be written by its process (no right
 * to write to the file); what is written by one that another program has registered is not seen.
 */
static int one_shared(struct scan *s, bool ours, bool *stop)
{
	uint64_t from = s->vma->start;

	s->obj = objects_get(&s->t->objects, s->p->pid, s->vma);
	if (!s->obj)
		return 0; /* unmapped meanwhile */
	int r = ours ? scan_vma(s, &from, false, stop) : -EPERM;

	if (r == -EPERM && !*stop) {
		r = do_register(s);
		if (r == -EPERM) {
			s->obj = NULL;
			return 0;
		}
		from = s->vma->start;
		r = r == 0 ? scan_vma(s, &from, true, stop) : r;
	}
	if (r < 0 && !*stop) {
		s->obj->loose = true;
		r = leave_vma(s);
	}
	s->obj = NULL;
	return r;
}

static int each_vma(struct scan *s, bool *stop)
{
	struct vma_list l = { 0 };
	struct err ignore = ERR_INIT;
	bool fresh = s->p->fresh;
	AUTO(runs) struct runs foreign = s->p->foreign;
	char path[40];
	int r = procs_maps(s->p->pid, &l, &ignore);

	snprintf(path, sizeof(path), "/proc/%d/pagemap", s->p->pid);
	AUTO(fd) int map = open(path, O_RDONLY | O_CLOEXEC);

	s->pagemap = map;
	s->p->fresh = false;
	s->p->foreign = (struct runs){ 0 };
	for (size_t i = 0; r == 0 && map >= 0 && i < l.n; i++) {
		s->vma = &l.v[i];
		bool shared = objects_has(&s->t->objects, s->vma);

		if (s->vma->kind != VMA_ANON_PRIVATE && s->vma->kind != VMA_FILE_PRIVATE && !shared)
			continue;
		if (s->p->uffd < 0)
			break;
		bool ours = !fresh && !tracker_vma_among(s->vma, &foreign);

		r = shared ? one_shared(s, ours, stop) : one_vma(s, ours, stop);
		if (r == -ESRCH)
			break;
	}
	procs_vmas_fini(&l);
	s->p->fresh |= r < 0;
	return *stop || r == -ENOMEM ? r : 0; /* a process that has gone is no error */
}

struct held_job {
	struct scan *s;
	bool *stop;
};

static int held_vmas(void *arg)
{
	struct held_job *j = arg;

	return each_vma(j->s, j->stop);
}

/*
 * Run while no read past the page tables is under way. A process that cannot be held is left for
 * the next round.
 */
static int held_round(struct scan *s, bool *stop)
{
	struct held_job j = { s, stop };
	int r = hold_while(s->p->pid, held_vmas, &j, &s->t->stopped_us);

	s->p->fresh |= direct_io(s->p->pid) == DIRECT_AIO; /* since when? */
	if (*stop || r == 0)
		return r;
	s->p->fresh |= r == -ECHILD; /* it may have been killed after protecting pages */
	s->p->tracked = false;
	if (r != -ESRCH)
		tracker_not(s->p, "it reads past the page cache (O_DIRECT), and cannot be held");
	return r == -ENOMEM ? r : 0;
}

static int scan_round(struct scan *s, bool *stop)
{
	/* before its pagemap is opened: a child after vfork would take its parent's pages */
	if (s->p->uffd < 0 && !tracker_shared(s->t, s->p))
		attach(s->t, s->p);
	s->p->tracked = s->p->uffd >= 0;
	if (!s->p->tracked)
		return 0;
	if (s->io == DIRECT_SYNC)
		return held_round(s, stop);
	int r = each_vma(s, stop);

	s->p->fresh |= direct_io(s->p->pid) != DIRECT_NONE; /* since when? */
	return r;
}

/* ---- a look ---- */

/* Memory that is not registered is reported as such by the scan. */
static const struct tproc *known(const struct tracker *t, pid_t pid)
{
	const struct tproc *p = tracker_known(t, pid);

	return p && p->uffd >= 0 && !p->fresh ? p : NULL;
}

static long look(const struct look_at *l, uint64_t *at, uint64_t end, struct page_region *vec)
{
	/* asking costs a look at the struct of every page: 8 ms for a GiB */
	uint64_t not = l->t->guard | (l->vma->kind == VMA_FILE_PRIVATE ? PAGE_IS_FILE : 0);
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = *at,
		.end = end,
		.vec = (uintptr_t)vec,
		.vec_len = VEC_REGIONS,
		.category_inverted = not,
		.category_mask = not,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN | PAGE_IS_PFNZERO,
	};
	long n = ioctl(l->pagemap, PAGEMAP_SCAN, &a);

	if (n < 0)
		return -errno;
	for (long i = 0; i < n && !l->p; i++)
		vec[i].categories &= ~PAGE_IS_WPALLOWED; /* not by us */
	/* see scan_vma(): walk_end is wrong when the vector is not full */
	*at = n < VEC_REGIONS ? end : vec[n - 1].end > a.walk_end ? vec[n - 1].end : a.walk_end;
	return n;
}

const struct tracker_ops tracker_scan_ops = {
	.name = "scan",
	.sees_shared = true,
	.probe = probe,
	.round = scan_round,
	.known = known,
	.look = look,
	.detach = detach,
};
