/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arena.h - memory that outlives the process which fills it, at one place in all. */
#ifndef HAUL_ARENA_H
#define HAUL_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ARENA_CLASSES 40u

/* The shared part: only grows. Its start is the caller's, see arena_new(). */
struct arena {
	uint64_t bytes, used;
};

/*
 * One process's way into it; what was freed is known to that process alone, so that
 * its death leaves nothing half done (what it had freed is then lost to the next).
 * arena NULL: the ordinary heap. One thread at a time.
 */
struct arena_user {
	struct arena *arena;
	void *spare[ARENA_CLASSES];
};

/**
 * arena_new() - reserve shared memory; children made afterwards have it at the same place
 * @head_bytes: at the start, zeroed, for the caller; begins with a struct arena
 */
int arena_new(struct arena **out, size_t head_bytes, struct err *e);
void arena_unmap(struct arena *a);
/** arena_warm() - have the memory there that the next @bytes need: the tree may wait for them */
void arena_warm(struct arena *a, uint64_t bytes);
/** arena_alloc() - zeroed. Return: NULL when full */
void *arena_alloc(struct arena_user *u, size_t bytes);
/** arena_free() - @bytes: as asked for */
void arena_free(struct arena_user *u, void *p, size_t bytes);

#endif
