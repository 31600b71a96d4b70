// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * objects.c - shared memory of a tree: which pages an object has, and which of them were written by
 * any of its mappings.
 *
 * What a mapping wrote is found as for private memory, and the union over all mappings counts. That
 * misses what was written by a descriptor, or by a mapping that came and went between two rounds; and
 * a hole that was made and then read looks clean. So it says what is worth sending in a round, and a
 * look calls everything else doubtful: in the freeze these pages are compared with what was sent.
 */
#include "engine/tracker/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/array.h"
#include "common/page.h"

#define OBJECT_PAGES_MAX (1ULL << 35) /* 47 bits of addresses */
#define INODE_MAX        UINT32_MAX /* CRIU's number of a memfd has 32 bits */

/* ---- bits ---- */

static int bits_set(struct object_bits *b, uint64_t page, uint64_t pages)
{
	uint64_t end = page + pages;

	if (end > OBJECT_PAGES_MAX)
		return -ENOMEM;
	if (end > b->pages) {
		/* pages come in ascending order: twice as many each time, or copying is quadratic */
		uint64_t least = end > 2 * b->pages ? end : 2 * b->pages;
		size_t had = (b->pages + 63) / 64, want = (least + 63) / 64;
		/* by calloc: what is never touched takes no memory */
		uint64_t *w = calloc(want, sizeof(*w));

		if (!w)
			return -ENOMEM;
		if (had)
			memcpy(w, b->word, had * sizeof(*w));
		free(b->word);
		b->word = w;
		b->pages = want * 64;
	}
	for (; page < end && page % 64; page++)
		b->word[page / 64] |= 1ULL << (page % 64);
	for (; page + 64 <= end; page += 64)
		b->word[page / 64] = UINT64_MAX;
	for (; page < end; page++)
		b->word[page / 64] |= 1ULL << (page % 64);
	return 0;
}

static void bits_clear(struct object_bits *b)
{
	free(b->word);
	*b = (struct object_bits){ 0 };
}

/* How many pages from @page on, at most @max, are alike; *is: they are set */
static uint64_t bits_span(const struct object_bits *b, uint64_t page, uint64_t max, bool *is)
{
	uint64_t at = page, end = page + max;

	*is = page < b->pages && (b->word[page / 64] >> (page % 64) & 1);
	while (at < end && at < b->pages) {
		uint64_t word = b->word[at / 64], rest = (*is ? ~word : word) >> (at % 64);

		at += rest ? (uint64_t)__builtin_ctzll(rest) : 64 - at % 64;
		if (rest)
			return (at < end ? at : end) - page;
	}
	return (*is && at < end ? at : end) - page;
}

/* ---- the list ---- */

void objects_init(struct objects *o, bool armed)
{
	AUTO(fd) int fd = memfd_create("haul", MFD_CLOEXEC);
	struct stat st;

	*o = (struct objects){ .armed = armed };
	if (fd >= 0 && fstat(fd, &st) == 0)
		o->dev = st.st_dev;
}

bool objects_has(const struct objects *o, const struct vma *vma)
{
	return vma->kind == VMA_SHARED && o->dev && vma->inode && vma->inode <= INODE_MAX &&
	       makedev(vma->dev_major, vma->dev_minor) == o->dev;
}

static size_t place_of(const struct objects *o, uint64_t inode)
{
	size_t low = 0, high = o->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (o->v[mid]->inode < inode)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void object_free(struct object *x)
{
	if (!x)
		return;
	if (x->fd >= 0)
		close(x->fd);
	bits_clear(&x->wrote);
	bits_clear(&x->looked);
	free(x);
}

static struct object *open_object(pid_t pid, const struct vma *vma, uint64_t dev)
{
	char path[80];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
	         (unsigned long long)vma->start, (unsigned long long)vma->end);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != vma->inode || st.st_dev != dev)
		return NULL;
	struct object *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->inode = vma->inode;
	x->fd = steal_fd(&fd);
	return x;
}

struct object *objects_get(struct objects *o, pid_t pid, const struct vma *vma)
{
	size_t i = place_of(o, vma->inode);

	if (i == o->n || o->v[i]->inode != vma->inode) {
		struct object *x = open_object(pid, vma, o->dev);

		if (!x)
			return NULL;
		if (array_grow(&o->v, o->n, &o->cap, sizeof(struct object *)) < 0) {
			object_free(x);
			return NULL;
		}
		memmove(&o->v[i + 1], &o->v[i], (o->n++ - i) * sizeof(struct object *));
		o->v[i] = x;
		x->whole = true;
	}
	o->v[i]->seen = true;
	return o->v[i];
}

/* ---- rounds and looks ---- */

void objects_begin(struct objects *o, bool look)
{
	o->look = look;
	for (size_t i = 0; i < o->n; i++) {
		struct object *x = o->v[i];

		x->seen = false;
		bits_clear(&x->looked);
		if (look)
			continue;
		/* without marks, and with mappings that have none, all pages are compared again */
		x->whole = x->whole || x->loose || !o->armed;
		x->loose = false;
	}
}

int objects_wrote(const struct objects *o, struct object *x, const struct vma *vma, uint64_t vaddr,
                  uint64_t pages)
{
	return bits_set(o->look ? &x->looked : &x->wrote,
	                (vma->offset + (vaddr - vma->start)) >> PAGE_BITS, pages);
}

/* A part of the object that is there. */
static int tell_data(const struct objects *o, struct object *x, uint64_t page, uint64_t pages,
                     tracker_obj_fn emit, void *arg)
{
	const struct object_bits *b = o->look ? &x->looked : &x->wrote;
	int r = 0;

	while (r == 0 && pages) {
		bool wrote;
		uint64_t n = bits_span(b, page, pages, &wrote);

		wrote = wrote || x->whole;
		if (wrote || o->look)
			r = emit(arg, obj_of_shmem(x->inode), page << PAGE_BITS, n,
			         TRACKER_PRESENT | (wrote ? TRACKER_DIRTY : TRACKER_DOUBT));
		page += n;
		pages -= n;
	}
	return r;
}

static int tell_object(struct objects *o, struct object *x, tracker_obj_fn emit, void *arg)
{
	off_t at = 0;
	int r = 0;

	while (r == 0 && (at = lseek(x->fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(x->fd, at, SEEK_HOLE);

		if (end < 0)
			break;
		uint64_t first = (uint64_t)at >> PAGE_BITS;
		uint64_t last = ((uint64_t)end + PAGE_BYTES - 1) >> PAGE_BITS;

		r = tell_data(o, x, first, last - first, emit, arg);
		at = end;
	}
	if (r == 0 && at < 0 && errno != ENXIO)
		r = -errno;
	return r;
}

int objects_tell(struct objects *o, tracker_obj_fn emit, void *arg)
{
	int r = 0;
	size_t kept = 0;

	for (size_t i = 0; r == 0 && i < o->n; i++) {
		struct object *x = o->v[i];

		if (x->seen)
			r = tell_object(o, x, emit, arg);
		if (o->look || r < 0)
			continue;
		bits_clear(&x->wrote);
		x->whole = false;
	}
	if (r < 0 || o->look)
		return r;
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i]->seen)
			o->v[kept++] = o->v[i];
		else
			object_free(o->v[i]);
	o->n = kept;
	return 0;
}

int objects_fd(const struct objects *o, uint64_t obj)
{
	size_t i = place_of(o, obj_id(obj));

	return obj_is_shmem(obj) && i < o->n && o->v[i]->inode == obj_id(obj) ? o->v[i]->fd : -1;
}

void objects_fini(struct objects *o)
{
	for (size_t i = 0; i < o->n; i++)
		object_free(o->v[i]);
	free(o->v);
	o->v = NULL;
	o->n = o->cap = 0;
}
