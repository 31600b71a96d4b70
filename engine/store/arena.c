// SPDX-License-Identifier: GPL-2.0-or-later
/* arena.c - shared memory in pieces of powers of two; big pieces return their pages when freed. */
#include "engine/store/arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/auto.h"

#define RESERVE_BYTES (16ULL << 30) /* only touched pages take memory */
#define RESERVE_MIN   (1ULL << 30) /* if the host allows no more */
#define CLASS_MIN     6u
#define GIVE_BACK     (64u << 10)
#define PAGE          4096ULL

int arena_new(struct arena **out, size_t head_bytes, struct err *e)
{
	for (uint64_t n = RESERVE_BYTES; n >= RESERVE_MIN; n /= 4) {
		struct arena *a = mmap(NULL, n, PROT_READ | PROT_WRITE,
		                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (a == MAP_FAILED)
			continue;
		a->bytes = n;
		a->used = (head_bytes + PAGE - 1) / PAGE * PAGE;
		*out = a;
		return 0;
	}
	return err_sys(e, "shared memory for the pager");
}

void arena_unmap(struct arena *a)
{
	if (a)
		munmap(a, a->bytes);
}

void arena_warm(struct arena *a, uint64_t bytes)
{
	uint64_t room = (a->bytes - a->used) / 4;

	/* an older kernel: pages are allocated when touched */
	(void)madvise((char *)a + a->used / PAGE * PAGE,
	              (bytes < room ? bytes : room) / PAGE * PAGE, MADV_POPULATE_WRITE);
}

static unsigned int class_of(size_t bytes)
{
	unsigned int c = CLASS_MIN;

	while (((size_t)1 << c) < bytes)
		c++;
	return c;
}

static void *grow(struct arena *a, uint64_t bytes)
{
	uint64_t align = bytes < PAGE ? bytes : PAGE;
	uint64_t at = (a->used + align - 1) / align * align;

	if (at + bytes > a->bytes)
		return NULL;
	__atomic_store_n(&a->used, at + bytes, __ATOMIC_RELEASE);
	return (char *)a + at;
}

void *arena_alloc(struct arena_user *u, size_t bytes)
{
	unsigned int c = class_of(bytes);

	if (!u->arena)
		return calloc(1, bytes);
	if (c >= ARENA_CLASSES)
		return NULL;
	void *p = u->spare[c];

	if (!p)
		return grow(u->arena, 1ULL << c);
	memcpy(&u->spare[c], p, sizeof(void *));
	memset(p, 0, (1ULL << c) < GIVE_BACK ? bytes : sizeof(void *));
	return p;
}

void arena_free(struct arena_user *u, void *p, size_t bytes)
{
	unsigned int c = class_of(bytes);

	if (!u->arena || !p) {
		free(p);
		return;
	}
	/* the pages read as zeros and take no memory; if that fails, they are zeroed on reuse */
	if ((1ULL << c) >= GIVE_BACK && madvise(p, 1ULL << c, MADV_REMOVE) < 0)
		memset(p, 0, bytes);
	memcpy(p, &u->spare[c], sizeof(void *));
	u->spare[c] = p;
}
