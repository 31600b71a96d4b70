/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sparse.h - page attributes over a huge address range: chunks of 2 MiB, made on use. */
#ifndef HAUL_SPARSE_H
#define HAUL_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/page.h"

#define SPARSE_PAGES 512u
#define SPARSE_BYTES ((uint64_t)SPARSE_PAGES * PAGE_BYTES)

/*
 * Finding and making chunks is thread-safe; a chunk stays where it is until the
 * end. What is in a chunk is the caller's to protect.
 */
struct sparse;

/** sparse_new() - @chunk_bytes: size of a chunk's payload, zeroed when made */
struct sparse *sparse_new(size_t chunk_bytes);
/** sparse_get() - payload of chunk @key, NULL when not there (or no memory) */
void *sparse_get(struct sparse *s, uint64_t key, bool create);
/** sparse_each() - every chunk, in no order; @fn makes none, and others wait to make one */
void sparse_each(struct sparse *s, void (*fn)(void *arg, uint64_t key, void *payload), void *arg);
void sparse_free(struct sparse *s);

#endif
