/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page.h - the size of a page, and the numbers that name what pages belong to. */
#ifndef HAUL_PAGE_H
#define HAUL_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BITS  12
#define PAGE_BYTES (1u << PAGE_BITS)

/*
 * An object owns pages: a task (its ID is the pid) or a piece of shared memory (its ID is CRIU's).
 * The number is on the wire and in the page store: the ID in all but the low byte, the kind in that.
 */
enum obj_kind { OBJ_KIND_TASK = 1, OBJ_KIND_SHMEM = 2 };

static inline uint64_t obj_of_task(uint64_t pid)
{
	return pid << 8 | OBJ_KIND_TASK;
}

static inline uint64_t obj_of_shmem(uint64_t id)
{
	return id << 8 | OBJ_KIND_SHMEM;
}

static inline bool obj_is_task(uint64_t obj)
{
	return (obj & 0xff) == OBJ_KIND_TASK;
}

static inline bool obj_is_shmem(uint64_t obj)
{
	return (obj & 0xff) == OBJ_KIND_SHMEM;
}

static inline uint64_t obj_id(uint64_t obj)
{
	return obj >> 8;
}

#endif
