/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.h - directory trees that travel with the process (--fs): docs/FILES.md.
 *
 * A model of what the destination has is kept: an object for each inode, with its names there
 * and digests of its blocks. A pass looks at what may have changed, compares it with the
 * model and sends the difference.
 */
#ifndef HAUL_HAULER_FS_H
#define HAUL_HAULER_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "common/finding.h"
#include "hauler/options/dirs.h"

struct mig;
struct Haul__Offer;

struct fs_stats {
	uint64_t inodes, bytes; /* of the trees, as first seen; bytes: allocated */
	uint64_t sent_files, sent_bytes, wire_bytes;
	uint64_t look_us, first_us, frozen_us, frozen_bytes; /* look: before the first pass */
	unsigned int passes;
	const char *watch; /* how changes are noticed: "fanotify", "times" */
};

struct fs;

/** fs_new() - look at all that is there, and from now on at what changes */
int fs_new(struct fs **out, const struct dirs_opts *o, struct err *e);
void fs_free(struct fs *f);
DEFINE_AUTO(fs, fs_free)
const struct fs_stats *fs_get_stats(const struct fs *f);

/* ---- as steps of a migration; all do nothing when there is no --fs ---- */

/** fs_look() - at all that is there; before the connection, which would have to wait */
int fs_look(struct mig *m, struct err *e);
/** fs_offer() - what is to come, into OFFER; a file of the trees need not be there already */
int fs_offer(struct mig *m, struct Haul__Offer *o, struct findings *out, struct err *e);
void fs_offer_free(struct Haul__Offer *o);
/** fs_first() - connection and first pass, while the tree runs */
int fs_first(struct mig *m, struct err *e);
/** fs_settle() - passes until they bring little, just before the freeze */
int fs_settle(struct mig *m, struct err *e);
/** fs_frozen() - the tree stands: the last pass begins, in a thread of its own */
int fs_frozen(struct mig *m, struct err *e);
/** fs_wait() - until the destination has all of it; before SWITCH */
int fs_wait(struct mig *m, struct err *e);
/** fs_cancel() - from any thread */
void fs_cancel(struct fs *f);

#endif
