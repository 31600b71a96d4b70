/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verify.h - is all of a state there, as it was written? What differs between two? */
#ifndef HAUL_ARCHIVE_VERIFY_H
#define HAUL_ARCHIVE_VERIFY_H

#include "archive/archive.h"

/* Pages of the later of two states, and of the earlier one only. */
struct archive_diff {
	uint64_t same, changed, fresh, gone;
};

/** archive_verify() - read every part of @s. @pages: out. Return: 0; -EBADMSG: damaged */
int archive_verify(struct archive *a, const struct Archive__State *s, uint64_t *pages,
                   struct err *e);
/** archive_compare() - count the pages of two states by what became of them */
int archive_compare(struct archive *a, const struct Archive__State *before,
                    const struct Archive__State *after, struct archive_diff *out, struct err *e);

#endif
