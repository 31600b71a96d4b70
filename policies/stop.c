// SPDX-License-Identifier: GPL-2.0-or-later
/* stop.c - what a stop costs by the shape of the program, and which way of finding its pages is the cheapest. */
#include "policies/policies.h"

/*
 * What the stop costs apart from the link: base, each further process, thread, connection, GiB; and
 * each page that travels in it, which the destination writes into images for CRIU to read.
 */
#define FREEZE_BASE_US   25000
#define FREEZE_TASK_US   20000
#define FREEZE_THREAD_US 2000
#define FREEZE_TCP_US    200
#define FREEZE_FIXED_US  15
#define FREEZE_SHARED_US 6
#define FREEZE_MAP_US    50
#define FREEZE_FILE_US   120 /* a mapping of a file: CRIU opens and compares each */
#define FREEZE_FD_US     80
#define FREEZE_FEW       100 /* so many mappings are in the base */
#define FREEZE_AIO_US    260000
#define FREEZE_GIB_PAGES 262144

/*
 * What a call of CRIU's costs that passes through haul (scans.c), and how many of them CRIU makes: page scans and
 * plain opens of a process, opens of a thread; besides one open of each descriptor.
 */
#define NOTE_US      8
#define TASK_SCANS   19
#define TASK_OPENS   26
#define THREAD_OPENS 3
#define NOTES_US_MIN                                                                               \
	2000 /* less is not worth a thought: the program may grow until it is stopped */

/* In the kernel, for a GiB: to walk all pages for smaps; to list all pages for CRIU, which streams them. */
#define SMAPS_GIB_US 10000
#define PUSH_GIB_US  110000

uint64_t pol_freeze_us(const struct pol_size *z)
{
	static const unsigned int gib_us[] = {
		[POL_FREEZE_SMAPS] = 2000,
		[POL_FREEZE_SCANS] = 12000,
		[POL_FREEZE_PUSH] = 110000,
	};

	unsigned int file_maps = z->file_maps > FREEZE_FEW ? z->file_maps - FREEZE_FEW : 0;

	return FREEZE_BASE_US + (uint64_t)file_maps * FREEZE_FILE_US +
	       (uint64_t)z->maps * FREEZE_MAP_US + (uint64_t)z->fds * FREEZE_FD_US +
	       z->pages * gib_us[z->how] / FREEZE_GIB_PAGES +
	       (uint64_t)(z->tasks ? z->tasks - 1 : 0) * FREEZE_TASK_US +
	       (uint64_t)z->fixed_pages * FREEZE_FIXED_US +
	       (uint64_t)z->shared_pages * FREEZE_SHARED_US +
	       (uint64_t)z->threads * FREEZE_THREAD_US + (uint64_t)z->tcp * FREEZE_TCP_US +
	       (z->aio ? FREEZE_AIO_US : 0);
}

enum pol_freeze pol_freeze_how(const struct pol_size *z)
{
	uint64_t threads = (uint64_t)z->tasks + z->threads;
	uint64_t scans_us = (uint64_t)z->tasks * TASK_SCANS * NOTE_US;
	uint64_t opens_us = ((uint64_t)z->tasks * TASK_OPENS + threads * THREAD_OPENS + z->fds) *
	                    NOTE_US;
	uint64_t smaps_us = z->pages * SMAPS_GIB_US / FREEZE_GIB_PAGES;
	uint64_t push_us = z->pages * PUSH_GIB_US / FREEZE_GIB_PAGES;

	if (scans_us + opens_us < NOTES_US_MIN ||
	    (opens_us <= smaps_us && scans_us + opens_us <= push_us + smaps_us))
		return POL_FREEZE_SMAPS;
	return scans_us <= push_us ? POL_FREEZE_SCANS : POL_FREEZE_PUSH;
}
