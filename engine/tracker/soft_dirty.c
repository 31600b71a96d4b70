// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * soft_dirty.c - which pages were written: the kernel's soft-dirty bits, for kernels that have
 * nothing better (before 6.7).
 *
 * Bits are read from /proc/PID/pagemap and cleared through /proc/PID/clear_refs. A write between
 * the two would be lost, so the process is held for both; written pages are reported once it runs
 * again. A new mapping has all its bits set, and so has a whole huge page after one write to it. A
 * child inherits the bits of its parent: the bits of a process count only after we have cleared
 * them once.
 *
 * Memory that mremap moves by whole page tables (2 MiB at once) has its bits as they were (6.1),
 * although the new address had other content before. So we record the frame, or swap slot, of each
 * page when the bits are cleared: a page with another one counts as written. That costs 8 bytes
 * per page.
 */
#include "engine/tracker/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/array.h"
#include "common/clock.h"
#include "common/page.h"
#include "engine/proc/hold.h"
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"

/* Words of pagemap, one for a page. */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAPPED (1ULL << 62)
#define PM_FILE    (1ULL << 61)
#define PM_GUARD   (1ULL << 58)
#define PM_SOFT    (1ULL << 55)
#define PM_FRAME   (PM_SOFT - 1)
#define PM_PLACE   (PM_PRESENT | PM_SWAPPED | PM_FRAME)

#define WORDS 4096 /* read at once: 16 MiB of memory */

#define STRAYED_MOST 512 /* examined at once */

/* ---- this kernel ---- */

/* The word of a page of our own, written or only read. */
static uint64_t own_word(bool write)
{
	volatile char *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
	                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	AUTO(fd) int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t word = 0;
	char c;

	if (page == MAP_FAILED)
		return 0;
	c = *page;
	if (write)
		*page = (char)(c + 1);
	if (map < 0 || pread(map, &word, sizeof(word),
	                     (off_t)((uintptr_t)page / PAGE_BYTES * sizeof(word))) != sizeof(word))
		word = 0;
	munmap((void *)page, PAGE_BYTES);
	return word;
}

/*
 * The kernel shows frames only with CAP_SYS_ADMIN; without it the zero page looks like any page.
 */
uint64_t soft_zero_frame(void)
{
	uint64_t word = own_word(false);

	return word & PM_PRESENT ? word & PM_FRAME : 0;
}

static int probe(struct err *e)
{
	uint64_t word = own_word(true);

	if (!(word & PM_SOFT))
		return err_set(e, ERR_SYS, ENOTSUP, "no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
	if (!(word & PM_FRAME))
		return err_set(e, ERR_SYS, EPERM, "page frames are not shown (CAP_SYS_ADMIN)");
	return 0;
}

/* ---- processes ---- */

static const struct tproc *known(const struct tracker *t, pid_t pid)
{
	const struct tproc *p = tracker_known(t, pid);

	return p && p->known && p->born == procs_start(pid) ? p : NULL;
}

/* Cleared bits stay cleared: no other program uses them. */
static void detach(struct tproc *p)
{
	p->known = p->tracked = false;
	marks_fini(&p->marks);
}

/* ---- looking ---- */

static bool is_page(const struct look_at *l, uint64_t word)
{
	return (word & (PM_PRESENT | PM_SWAPPED)) && !(word & PM_GUARD) &&
	       !(l->vma->kind == VMA_FILE_PRIVATE && (word & PM_FILE));
}

static uint64_t categories(const struct look_at *l, uint64_t vaddr, uint64_t word, size_t *at)
{
	uint64_t c = PAGE_IS_PRESENT;

	if (l->p)
		c |= PAGE_IS_WPALLOWED;
	if ((word & PM_SOFT) || (l->p && marks_get(&l->p->marks, at, vaddr) != (word & PM_PLACE)))
		c |= PAGE_IS_WRITTEN;
	if ((word & PM_PRESENT) && l->t->zero_frame && (word & PM_FRAME) == l->t->zero_frame)
		c |= PAGE_IS_PFNZERO;
	return c;
}

/* See look(); @learn: records the place of each page, or NULL */
static long walk(const struct look_at *l, struct marks *learn, uint64_t *at, uint64_t end,
                 struct page_region *vec)
{
	uint64_t words[WORDS];
	size_t mark = 0;
	long n = 0;

	while (*at < end) {
		uint64_t pages = (end - *at) >> PAGE_BITS;
		size_t want = (pages < WORDS ? pages : WORDS) * sizeof(*words);
		ssize_t got = pread(l->pagemap, words, want,
		                    (off_t)((*at >> PAGE_BITS) * sizeof(*words)));

		if (got <= 0) /* nothing to read: its memory is gone */
			return got < 0 ? -errno : -ESRCH;
		for (size_t i = 0; i < (size_t)got / sizeof(*words); i++) {
			if (is_page(l, words[i])) {
				uint64_t c = categories(l, *at, words[i], &mark);

				if (n && vec[n - 1].end == *at && vec[n - 1].categories == c)
					vec[n - 1].end += PAGE_BYTES;
				else if (n == VEC_REGIONS)
					return n;
				else
					vec[n++] = (struct page_region){ *at, *at + PAGE_BYTES, c };
				if (learn && marks_add(learn, *at, words[i] & PM_PLACE) < 0)
					return -ENOMEM;
			}
			*at += PAGE_BYTES;
		}
	}
	return n;
}

static long look(const struct look_at *l, uint64_t *at, uint64_t end, struct page_region *vec)
{
	return walk(l, NULL, at, end, vec);
}

/* ---- a round ---- */

/* The pages that one process has to report. */
struct found {
	struct vma_list maps;
	struct part {
		size_t vma; /* in maps */
		struct page_region region;
	} * v;
	size_t n, cap;
};

struct job {
	struct scan *s;
	struct found found;
	struct marks marks; /* for the next round */
	bool clearing; /* from now on the bits may be gone */
};

static int add(struct found *f, size_t vma, const struct page_region *r)
{
	if (array_grow(&f->v, f->n, &f->cap, sizeof(*f->v)) < 0)
		return -ENOMEM;
	f->v[f->n++] = (struct part){ vma, *r };
	return 0;
}

static int find_in(struct job *j, size_t vma, int pagemap)
{
	const struct tracker *t = j->s->t;
	const struct vma *v = &j->found.maps.v[vma];
	struct look_at l = {
		.t = t, .p = j->s->p->known ? j->s->p : NULL, .pagemap = pagemap, .vma = v
	};
	int r = 0;

	for (uint64_t at = v->start; r == 0 && at < v->end;) {
		long n = walk(&l, &j->marks, &at, v->end, t->vec);

		r = n < 0 ? (int)n : 0;
		for (long i = 0; r == 0 && i < n; i++) {
			uint64_t c = t->vec[i].categories;
			bool written = !(c & PAGE_IS_WPALLOWED) || (c & PAGE_IS_WRITTEN);

			if (written && !(c & PAGE_IS_PFNZERO))
				r = add(&j->found, vma, &t->vec[i]);
		}
	}
	return r;
}

static int find(struct job *j)
{
	struct err ignore = ERR_INIT;
	pid_t pid = j->s->p->pid;
	char path[32];
	int r = procs_maps(pid, &j->found.maps, &ignore);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	AUTO(fd) int map = open(path, O_RDONLY | O_CLOEXEC);

	if (map < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < j->found.maps.n; i++) {
		enum vma_kind kind = j->found.maps.v[i].kind;

		if (kind == VMA_ANON_PRIVATE || kind == VMA_FILE_PRIVATE)
			r = find_in(j, i, map);
	}
	return r;
}

static int clear(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", pid);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, "4", 1) != 1 ? -errno : 0;
}

static int find_and_clear(void *arg)
{
	struct job *j = arg;
	int r = find(j);

	j->clearing = r == 0;
	return r == 0 ? clear(j->s->p->pid) : r;
}

static int report(struct scan *s, const struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		s->vma = &f->maps.v[f->v[i].vma];
		int r = tracker_report(s, &f->v[i].region, 1);

		if (r < 0)
			return r;
	}
	return 0;
}

static int soft_round(struct scan *s, bool *stop)
{
	struct job j = { .s = s };
	struct tproc *p = s->p;

	if (tracker_shared(s->t, p)) { /* the other process keeps running while this one is held */
		p->known = false;
		return 0;
	}
	int r = hold_while(p->pid, find_and_clear, &j, &s->t->stopped_us);

	/* a process that could not be held keeps its bits for the next round */
	p->tracked = r == 0;
	if (r < 0 && r != -ESRCH)
		tracker_not(p, r == -EPERM ? "it is traced by another program" : strerror(-r));
	if (r == 0) {
		pthread_mutex_lock(&s->t->lock);
		struct marks old = p->marks;

		p->marks = j.marks;
		j.marks = old;
		pthread_mutex_unlock(&s->t->lock);
		r = report(s, &j.found);
		/* the bits of what was not reported are gone */
		p->known = r == 0 && direct_io(p->pid) != DIRECT_AIO; /* since when? */
		*stop = r < 0;
	} else {
		/* killed or failed after the bits were cleared: the pages found are lost */
		p->known = p->known && !j.clearing;
		r = 0;
	}
	marks_fini(&j.marks);
	procs_vmas_fini(&j.found.maps);
	free(j.found.v);
	return r;
}

static void strayed(struct tracker *t, pid_t pid, int places, uint64_t vaddr, size_t pages,
                    bool *out)
{
	uint64_t words[STRAYED_MOST] = { 0 };
	size_t at = 0, most = pages < STRAYED_MOST ? pages : STRAYED_MOST;

	if (pread(places, words, most * sizeof(*words),
	          (off_t)((vaddr >> PAGE_BITS) * sizeof(*words))) < 0)
		memset(words, 0, sizeof(words)); /* it is gone, and they with it */
	pthread_mutex_lock(&t->lock);
	const struct tproc *p = tracker_known(t, pid);

	for (size_t i = 0; p && i < most; i++)
		if (marks_get(&p->marks, &at, vaddr + i * PAGE_BYTES) != (words[i] & PM_PLACE))
			out[i] = true;
	pthread_mutex_unlock(&t->lock);
	if (pages > most)
		strayed(t, pid, places, vaddr + most * PAGE_BYTES, pages - most, out + most);
}

const struct tracker_ops tracker_soft_ops = {
	.name = "soft-dirty",
	.probe = probe,
	.round = soft_round,
	.known = known,
	.look = look,
	.strayed = strayed,
	.detach = detach,
};
