/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arena.h - memory that outlives the process that fills it, at the same address in all processes.
 */
#ifndef HAUL_ARENA_H
#define HAUL_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define ARENA_CLASSES 40u

/* The shared part: it only grows. Its head belongs to the caller, see arena_new(). */
struct arena {
	uint64_t bytes, used;
};

/*
 * One process's view of it. Only that process knows the freed pieces, so that its death leaves
 * nothing half done (its successor cannot use what it had freed). arena NULL: the ordinary heap.
 * One thread at a time.
 */
struct arena_user {
	struct arena *arena;
	void *spare[ARENA_CLASSES];
};

/**
 * arena_new() - reserve shared memory; later children have it at the same address
 * @head_bytes: size of the head, zeroed, for the caller; it begins with a struct arena
 */
int arena_new(struct arena **out, size_t head_bytes, struct err *e);
/** arena_unmap() - give its memory back; other processes that share it keep theirs */
void arena_unmap(struct arena *a);
/** arena_warm() - allocate the memory for the next @bytes now: later the tree may be waiting */
void arena_warm(struct arena *a, uint64_t bytes);
/** arena_alloc() - zeroed. Return: NULL when full */
void *arena_alloc(struct arena_user *u, size_t bytes);
/** arena_free() - @bytes: as in arena_alloc() */
void arena_free(struct arena_user *u, void *p, size_t bytes);

#endif
