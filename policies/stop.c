// SPDX-License-Identifier: GPL-2.0-or-later
/* stop.c - which way of finding the pages of a stopped program is the cheapest, by its shape. */
#include "policies/policies.h"

#define GIB_PAGES 262144

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

enum pol_freeze pol_freeze_how(const struct pol_size *z)
{
	uint64_t threads = (uint64_t)z->tasks + z->threads;
	uint64_t scans_us = (uint64_t)z->tasks * TASK_SCANS * NOTE_US;
	uint64_t opens_us = ((uint64_t)z->tasks * TASK_OPENS + threads * THREAD_OPENS + z->fds) *
	                    NOTE_US;
	uint64_t pages = z->pages + z->shared_pages; /* CRIU would stream both */
	uint64_t smaps_us = pages * SMAPS_GIB_US / GIB_PAGES;
	uint64_t push_us = pages * PUSH_GIB_US / GIB_PAGES;

	if (scans_us + opens_us < NOTES_US_MIN ||
	    (opens_us <= smaps_us && scans_us + opens_us <= push_us + smaps_us))
		return POL_FREEZE_SMAPS;
	return scans_us <= push_us ? POL_FREEZE_SCANS : POL_FREEZE_PUSH;
}
