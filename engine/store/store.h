/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h - pages that have arrived, one sparse memfd per object. */
#ifndef HAUL_STORE_H
#define HAUL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/runs.h"

/*
 * The file offset of a page is its address, so rounds land in their place and a
 * second process can map the same store. Thread-safe.
 */
struct store;
struct sobj;

/* PAGE_STALE is PAGE_ABSENT whose memory is not yet given back. */
enum page_state { PAGE_ABSENT = 0, PAGE_DATA = 1, PAGE_ZERO = 2, PAGE_STALE = 3 };

/** store_new() - *out: caller frees. Return: 0; -errno */
int store_new(struct store **out, struct err *e);
/**
 * store_obj() - find an object, or make it if @create. Return: NULL if it does not exist, or no
 * memory
 */
struct sobj *store_obj(struct store *s, uint64_t obj, bool create);
/** store_write() - write @pages pages of @data to their place; their state becomes PAGE_DATA */
int store_write(struct sobj *o, uint64_t vaddr, const void *data, size_t pages, struct err *e);
/** store_zero() - mark pages as zero, which takes no memory */
int store_zero(struct sobj *o, uint64_t vaddr, size_t pages, struct err *e);
/** store_drop() - forget pages and free their memory */
void store_drop(struct sobj *o, uint64_t vaddr, uint64_t pages);
/**
 * store_keep_only() - forget all pages outside @keep (ascending); quick: store_sweep() frees their
 * memory later, when the tree does not wait
 */
void store_keep_only(struct sobj *o, const struct runs *keep);
/** store_sweep() - give back the memory of pages that became PAGE_STALE */
void store_sweep(struct store *s);
/** store_sweep_object() - the same for one object, at once: its file is about to be the program's */
void store_sweep_object(struct sobj *o);
enum page_state store_state(const struct sobj *o, uint64_t vaddr);
/** store_span() - length in pages (at most @max) of equal state from @vaddr on */
size_t store_span(const struct sobj *o, uint64_t vaddr, size_t max, enum page_state *st);
/** store_read() - copy out; PAGE_ZERO reads as zero. -ENODATA where absent */
int store_read(const struct sobj *o, uint64_t vaddr, void *buf, size_t pages, struct err *e);
/** store_fd() - the memfd of an object; belongs to it */
int store_fd(const struct sobj *o);
/**
 * store_adopt() - make an object from the file of a dead process; @fd: taken
 * Every page that the file holds is PAGE_DATA, all others PAGE_ABSENT.
 */
int store_adopt(struct sobj **out, struct store *s, uint64_t obj, int fd, struct err *e);
/** store_trim() - drop the pages that @keep refuses */
void store_trim(struct sobj *o, bool (*keep)(void *arg, uint64_t vaddr), void *arg);
/** store_data_pages() - memory held, in pages */
uint64_t store_data_pages(const struct store *s); /* memory held, in pages */
uint64_t store_peak_pages(const struct store *s); /* its maximum so far */
void store_free(struct store *s);
DEFINE_AUTO(store, store_free)

#endif
