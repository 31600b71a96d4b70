/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img_pages.h - the images with the memory of one object: pagemap-*.img and pages-N.img. */
#ifndef HAUL_ENGINE_IMG_PAGES_H
#define HAUL_ENGINE_IMG_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct img_pages;

/** img_pages_new() - begin to write both. @id: number of the pages image, unique in the directory */
int img_pages_new(struct img_pages **out, int dirfd, uint64_t obj, uint32_t id, struct err *e);
/** img_pages_run() - an entry of the page map. @flags: PE_PRESENT, PE_LAZY; present: img_pages_put() follows */
int img_pages_run(struct img_pages *w, uint64_t vaddr, uint64_t pages, uint32_t flags,
                  struct err *e);
/** img_pages_put() - the next pages of present entries */
int img_pages_put(struct img_pages *w, const void *data, size_t pages, struct err *e);
/** img_pages_end() - everything is written. Return: 0; -errno. @w: freed in every case */
int img_pages_end(struct img_pages *w, struct err *e);

#endif
