// SPDX-License-Identifier: GPL-2.0-or-later
/* img_vmas.c - the mappings of a process, from mm-PID.img. */
#include "engine/images/img_priv.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "engine/images/images.pb-c.h"

#define MAGIC_MM 0x57492820u

/* Flags of a mapping in mm-PID.img: those of mmap, and CRIU's status bits. */
#define VMA_PRIVATE   0x2u
#define VMA_ANON      0x20u
#define VMA_LOCKED    0x2000u
#define VMA_NORESERVE 0x4000u
#define VMA_HUGETLB   0x40000u
#define STATUS_NEVER  (1u << 2 | 1u << 3 | 1u << 12) /* vsyscall, vdso, vvar */
#define STATUS_GUARD  (1u << 16)

struct img_vmas {
	Cimg__Mm *mm;
	const Cimg__Vma **v; /* ascending, without guards, which lie in other mappings */
	size_t n;
};

static int by_start(const void *a, const void *b)
{
	const Cimg__Vma *x = *(Cimg__Vma *const *)a, *y = *(Cimg__Vma *const *)b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int sort_vmas(struct img_vmas *v)
{
	v->v = calloc(v->mm->n_vmas + 1, sizeof(*v->v));
	if (!v->v)
		return -ENOMEM;
	bool in_order = true;

	for (size_t i = 0; i < v->mm->n_vmas; i++) {
		const Cimg__Vma *m = v->mm->vmas[i];

		if (m->status & STATUS_GUARD)
			continue;
		in_order &= !v->n || v->v[v->n - 1]->start <= m->start;
		v->v[v->n++] = m;
	}
	if (!in_order)
		qsort(v->v, v->n, sizeof(*v->v), by_start);
	return 0;
}

int img_vmas(int dirfd, pid_t pid, struct img_vmas **out, struct err *e)
{
	AUTO(img_vmas) struct img_vmas *v = calloc(1, sizeof(*v));
	void *mm = NULL;
	char name[32];

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the mappings of pid=%d", pid);
	snprintf(name, sizeof(name), "mm-%d.img", pid);
	int r = img_load_message(dirfd, name, MAGIC_MM, &cimg__mm__descriptor, &mm, e);

	if (r < 0)
		return r;
	v->mm = mm;
	if (sort_vmas(v) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the mappings of pid=%d", pid);
	*out = steal(v);
	return 0;
}

bool img_dumpable(int dirfd, pid_t pid)
{
	struct err ignore = ERR_INIT;
	void *mm = NULL;
	char name[32];

	snprintf(name, sizeof(name), "mm-%d.img", pid);
	if (img_load_message(dirfd, name, MAGIC_MM, &cimg__mm__descriptor, &mm, &ignore) < 0)
		return false;
	bool is = ((Cimg__Mm *)mm)->dumpable == 1;

	cimg__mm__free_unpacked(mm, NULL);
	return is;
}

/* The mapping that holds @at, or the first behind it; NULL: none */
static const Cimg__Vma *vma_at(const struct img_vmas *v, uint64_t at)
{
	size_t low = 0, high = v->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (v->v[mid]->end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < v->n ? v->v[low] : NULL;
}

bool img_vmas_lazy(const struct img_vmas *v, uint64_t start)
{
	const uint32_t need = VMA_ANON | VMA_PRIVATE, never = VMA_LOCKED | VMA_HUGETLB;
	const Cimg__Vma *m = vma_at(v, start);

	return m && m->start <= start && (m->flags & need) == need && !(m->flags & never) &&
	       !(m->status & STATUS_NEVER);
}

uint64_t img_vmas_end(const struct img_vmas *v, uint64_t start)
{
	const Cimg__Vma *m = vma_at(v, start);

	if (!m)
		return UINT64_MAX;
	return m->start <= start ? m->end : m->start;
}

bool img_vmas_huge(const struct img_vmas *v, size_t *at, uint64_t *start, uint64_t *end)
{
	while (*at < v->mm->n_vmas) {
		const Cimg__Vma *m = v->mm->vmas[(*at)++];

		*start = m->start;
		*end = m->end;
		if (m->has_madv && (m->madv >> MADV_HUGEPAGE & 1))
			return true;
	}
	return false;
}

void img_vmas_free(struct img_vmas *v)
{
	if (!v)
		return;
	if (v->mm)
		cimg__mm__free_unpacked(v->mm, NULL);
	free(v->v);
	free(v);
}

/*
 * Would the kernel refuse to map this much writable memory at once? Then map it with
 * MAP_NORESERVE.
 */
static bool unpromise(const struct img_vmas *v, uint64_t bytes_max)
{
	const uint32_t need = VMA_ANON | VMA_PRIVATE;
	bool changed = false;

	for (size_t i = 0; i < v->mm->n_vmas; i++) {
		Cimg__Vma *m = v->mm->vmas[i];

		if (m->end - m->start <= bytes_max || (m->flags & need) != need ||
		    (m->flags & VMA_NORESERVE) || (m->status & STATUS_NEVER))
			continue;
		m->flags |= VMA_NORESERVE;
		changed = true;
	}
	return changed;
}

int img_fit(int dirfd, pid_t pid, uint64_t bytes_max, struct err *e)
{
	struct img_vmas *v = NULL;
	char name[32];
	int r = img_vmas(dirfd, pid, &v, e);

	if (r < 0)
		return r;
	if (unpromise(v, bytes_max)) {
		snprintf(name, sizeof(name), "mm-%d.img", pid);
		r = img_save_message(dirfd, name, MAGIC_MM, &v->mm->base, e);
	}
	img_vmas_free(v);
	return r;
}

static bool is_within(const Cimg__Vma *m, const struct img_range *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].start <= m->start && m->end <= v[i].end)
			return true;
	return false;
}

int img_unlock(int dirfd, pid_t pid, const struct img_range *v, size_t n, struct err *e)
{
	AUTO(img_vmas) struct img_vmas *l = NULL;
	char name[32];
	int r = img_vmas(dirfd, pid, &l, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < l->mm->n_vmas; i++)
		if (is_within(l->mm->vmas[i], v, n))
			l->mm->vmas[i]->flags &= ~VMA_LOCKED;
	snprintf(name, sizeof(name), "mm-%d.img", pid);
	return img_save_message(dirfd, name, MAGIC_MM, &l->mm->base, e);
}
