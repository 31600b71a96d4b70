/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pagemap_scan.h - the PAGEMAP_SCAN ioctl, for systems whose headers lack it. */
#ifndef HAUL_PAGEMAP_SCAN_H
#define HAUL_PAGEMAP_SCAN_H

#include <linux/fs.h>
#include <stdint.h>

#ifndef PAGEMAP_SCAN

#define PAGE_IS_WPALLOWED (1ULL << 0)
#define PAGE_IS_WRITTEN   (1ULL << 1)
#define PAGE_IS_FILE      (1ULL << 2)
#define PAGE_IS_PRESENT   (1ULL << 3)
#define PAGE_IS_SWAPPED   (1ULL << 4)
#define PAGE_IS_PFNZERO   (1ULL << 5)

#define PM_SCAN_WP_MATCHING   (1ULL << 0)
#define PM_SCAN_CHECK_WPASYNC (1ULL << 1)

struct page_region {
	uint64_t start, end, categories;
};

struct pm_scan_arg {
	uint64_t size, flags;
	uint64_t start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)

#endif

#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1ULL << 8) /* kernel 6.15: MADV_GUARD_INSTALL */
#endif

#endif
