// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tracker.c - which pages were written: PAGEMAP_SCAN over memory registered for
 * asynchronous write protection (userfaultfd WP_ASYNC, kernel 6.7).
 *
 * A scan reports written pages and protects them again in one step, so no write is
 * lost and the process never stops. What is found unregistered is registered and
 * reported whole, in that very scan.
 */
#include "engine/engine.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/look.h"
#include "engine/pagemap_scan.h"

#define VEC_REGIONS 4096

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#define UFFD_FEATURES                                                                              \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

struct tproc {
	pid_t pid;
	int uffd; /* -1: not tracked */
	bool tried;
	bool seen; /* in the tree at this round */
};

struct trk {
	pid_t root;
	enum trk_kind kind;
	struct tproc *v;
	size_t n, cap;
	struct page_region *vec;
	uint64_t stopped_us;
	uint64_t guard; /* PAGE_IS_GUARD where the kernel knows it */
};

/* ---- probing ---- */

static int uffd_api(int fd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURES };

	return ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

int trk_probe(enum trk_kind kind, struct err *e)
{
	if (kind == TRK_NONE)
		return 0;
	if (kind != TRK_WP_ASYNC)
		return err_set(e, ERR_SYS, ENOTSUP, "tracker not built in");
	AUTO(fd) int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);

	if (fd < 0 || uffd_api(fd) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "userfaultfd has no WP_ASYNC (kernel 6.7)");
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct page_region r;
	struct pm_scan_arg a = { .size = sizeof(a),
		                 .start = (uintptr_t)&a & ~4095ULL,
		                 .end = ((uintptr_t)&a & ~4095ULL) + 4096,
		                 .vec = (uintptr_t)&r,
		                 .vec_len = 1,
		                 .category_anyof_mask = PAGE_IS_PRESENT,
		                 .return_mask = PAGE_IS_PRESENT };

	if (map < 0 || ioctl(map, PAGEMAP_SCAN, &a) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "no PAGEMAP_SCAN (kernel 6.7)");
	return 0;
}

/* A guard marker reads as a swapped page unless it is asked for by name. */
static bool knows_guard(void)
{
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct page_region r;
	struct pm_scan_arg a = { .size = sizeof(a),
		                 .start = (uintptr_t)&a & ~4095ULL,
		                 .end = ((uintptr_t)&a & ~4095ULL) + 4096,
		                 .vec = (uintptr_t)&r,
		                 .vec_len = 1,
		                 .category_inverted = PAGE_IS_GUARD,
		                 .category_mask = PAGE_IS_GUARD,
		                 .return_mask = PAGE_IS_PRESENT };

	return map >= 0 && ioctl(map, PAGEMAP_SCAN, &a) >= 0;
}

/* ---- processes ---- */

int trk_new(struct trk **out, pid_t root, enum trk_kind kind, struct err *e)
{
	AUTO(trk) struct trk *t = calloc(1, sizeof(*t));

	if (t)
		t->vec = calloc(VEC_REGIONS, sizeof(*t->vec));
	if (!t || !t->vec)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the tracker");
	t->root = root;
	t->kind = kind;
	t->guard = knows_guard() ? PAGE_IS_GUARD : 0;
	*out = steal(t);
	return 0;
}

static struct tproc *find_proc(struct trk *t, pid_t pid)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].pid == pid)
			return &t->v[i];
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 16;
		struct tproc *v = realloc(t->v, cap * sizeof(*v));

		if (!v)
			return NULL;
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n] = (struct tproc){ .pid = pid, .uffd = -1 };
	return &t->v[t->n++];
}

static void detach(struct tproc *p)
{
	if (p->uffd >= 0)
		close(steal_fd(&p->uffd)); /* the kernel unregisters everything */
}

static int attach(struct trk *t, struct tproc *p)
{
	struct err e = ERR_INIT;
	uint64_t t0 = now_us();
	int r = inject_uffd(p->pid, &p->uffd, &e);

	p->tried = true;
	if (now_us() - t0 > t->stopped_us)
		t->stopped_us = now_us() - t0;
	if (r == 0)
		r = uffd_api(p->uffd);
	if (r < 0) {
		detach(p);
		if (r != -ESRCH)
			log_warn("pid=%d is not tracked: %s", p->pid,
			         e.msg[0] ? e.msg : strerror(-r));
	}
	return r;
}

/* Processes that left the tree are let go. */
static void sweep(struct trk *t)
{
	for (size_t i = 0; i < t->n;) {
		if (t->v[i].seen) {
			t->v[i++].seen = false;
			continue;
		}
		detach(&t->v[i]);
		t->v[i] = t->v[--t->n];
	}
}

/* ---- scanning ---- */

struct scan {
	struct trk *t;
	struct tproc *p;
	int pagemap;
	const struct vma *vma;
	trk_emit_fn emit;
	void *arg;
	struct trk_stats *st;
};

static int report(struct scan *s, long n)
{
	for (long i = 0; i < n; i++) {
		const struct page_region *r = &s->t->vec[i];
		uint64_t pages = (r->end - r->start) >> ENG_PAGE_SHIFT;

		s->st->dirty_pages += pages;
		s->st->tracked_pages += pages;
		int e = s->emit(s->arg, s->p->pid, s->vma, r->start, pages,
		                TRK_PRESENT | TRK_DIRTY);

		if (e < 0)
			return e;
	}
	return 0;
}

/*
 * One mapping. @all: every page counts as written (first time seen).
 * Return: 0; -EPERM not registered; -ESRCH gone; what emit returned (with *stop)
 */
static int scan_vma(struct scan *s, bool all, bool *stop)
{
	/* asking costs a look at the struct of every page: 8 ms for a GiB */
	uint64_t file = s->vma->kind == VMA_FILE_PRIVATE ? PAGE_IS_FILE : 0;
	uint64_t not = file | PAGE_IS_PFNZERO | s->t->guard;
	struct pm_scan_arg a = {
		.size = sizeof(a),
		.start = s->vma->start,
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
		int r = report(s, n);

		if (r < 0) {
			*stop = true;
			return r;
		}
		/*
		 * The kernel hands regions out in batches of its own and returns as
		 * walk_end where the last full batch ended, even when it went on to the
		 * end (6.18). Going on from there would report, and re-arm, pages twice
		 * in one round. A vector that is not full means the end was reached.
		 */
		if (n < VEC_REGIONS)
			break;
		a.start = s->t->vec[n - 1].end > a.walk_end ? s->t->vec[n - 1].end : a.walk_end;
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

/* The descriptor is for memory that is no more: its process has left it by exec. */
static bool has_left(const struct scan *s)
{
	struct uffdio_writeprotect wp = { .range = { s->vma->start, ENG_PAGE_BYTES } };

	return ioctl(s->p->uffd, UFFDIO_WRITEPROTECT, &wp) < 0 && errno == ESRCH;
}

/*
 * A mapping that is not registered: register, then report it whole. If it still is
 * not, the descriptor belongs to memory that the process has left by exec.
 */
static int scan_new_vma(struct scan *s, bool *stop)
{
	int r = do_register(s);

	if (r == 0)
		r = scan_vma(s, true, stop);
	if (*stop || r == 0)
		return r;
	if (r == -EPERM || r == -ESRCH || has_left(s)) {
		detach(s->p);
		r = attach(s->t, s->p);
		if (r == 0)
			r = do_register(s);
		if (r == 0)
			r = scan_vma(s, true, stop);
		if (*stop || r == 0)
			return r;
	}
	s->st->vmas_untracked++;
	return 0;
}

static int scan_proc(struct scan *s, bool *stop)
{
	struct vma_list l = { 0 };
	struct err ignore = ERR_INIT;
	char path[40];
	int r = procs_maps(s->p->pid, &l, &ignore);

	snprintf(path, sizeof(path), "/proc/%d/pagemap", s->p->pid);
	AUTO(fd) int map = open(path, O_RDONLY | O_CLOEXEC);

	s->pagemap = map;
	for (size_t i = 0; r == 0 && map >= 0 && i < l.n; i++) {
		s->vma = &l.v[i];
		if (s->vma->kind != VMA_ANON_PRIVATE && s->vma->kind != VMA_FILE_PRIVATE)
			continue;
		if (s->p->uffd < 0)
			break;
		r = scan_vma(s, false, stop);
		if (r == -EPERM && !*stop)
			r = scan_new_vma(s, stop);
		if (r == -ESRCH)
			break;
	}
	vmas_fini(&l);
	return *stop ? r : 0; /* a process that has gone is no error */
}

int trk_round(struct trk *t, trk_emit_fn emit, void *arg, struct trk_stats *st, struct err *e)
{
	struct proc_list l = { 0 };
	uint64_t t0 = now_us();
	bool stop = false;
	int r = procs_tree(t->root, &l, e);

	memset(st, 0, sizeof(*st));
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct tproc *p = find_proc(t, l.pid[i]);

		if (!p) {
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for the tracker");
			break;
		}
		p->seen = true;
		if (!p->tried && t->kind == TRK_WP_ASYNC)
			attach(t, p);
		st->procs += p->uffd >= 0;
		st->procs_untracked += p->uffd < 0;
		struct scan s = { .t = t, .p = p, .emit = emit, .arg = arg, .st = st };

		r = scan_proc(&s, &stop);
		if (r < 0)
			err_set(e, ERR_SYS, -r, "scan of process %d: %s", p->pid, strerror(-r));
	}
	procs_fini(&l);
	if (r == 0)
		sweep(t);
	st->scan_us = now_us() - t0;
	st->stopped_us = t->stopped_us;
	return r;
}

int trk_final(struct trk *t, trk_emit_fn emit, void *arg, struct trk_stats *st, struct err *e)
{
	return look_tree(t->root, t->guard, emit, arg, st, e);
}

void trk_release(struct trk *t)
{
	for (size_t i = 0; i < t->n; i++)
		detach(&t->v[i]);
	t->n = 0;
}

void trk_free(struct trk *t)
{
	if (!t)
		return;
	trk_release(t);
	free(t->v);
	free(t->vec);
	free(t);
}
