/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirs.h - directories that move with the process (--fs): docs/FILES.md.
 *
 * A model records what the destination has: an object for each inode, with its names there and
 * digests of its blocks. A pass finds what may have changed, compares it with the model and
 * sends the difference.
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

struct dirs_stats {
	uint64_t inodes, bytes; /* of the directories, as first seen; bytes: allocated */
	uint64_t sent_files, sent_bytes, wire_bytes;
	uint64_t look_us, first_us, frozen_us, frozen_bytes; /* look: before the first pass */
	unsigned int passes;
	const char *watch; /* how changes are noticed: "fanotify", "times" */
};

struct dirs;

void dirs_free(struct dirs *f);
DEFINE_AUTO(dirs, dirs_free)
/** dirs_get_stats() - counters as of now; belongs to @f */
const struct dirs_stats *dirs_get_stats(const struct dirs *f);

/* ---- steps of a migration; all do nothing without --fs ---- */

/**
 * dirs_look() - read all directories, and watch them from now on; before the connection, which
 * would have to wait
 */
int dirs_look(struct mig *m, struct err *e);
/** dirs_offer() - put the directories into OFFER; freed by dirs_offer_free() */
int dirs_offer(struct mig *m, struct Haul__Offer *o, struct findings *out, struct err *e);
void dirs_offer_free(struct Haul__Offer *o);
/** dirs_first() - connect, and make the first pass, while the tree runs */
int dirs_first(struct mig *m, struct err *e);
/** dirs_settle() - just before the freeze: repeat passes until they find little */
int dirs_settle(struct mig *m, struct err *e);
/** dirs_frozen() - the tree is stopped: start the last pass in a thread */
int dirs_frozen(struct mig *m, struct err *e);
/** dirs_wait() - wait until the destination has everything; before SWITCH */
int dirs_wait(struct mig *m, struct err *e);
/** dirs_cancel() - make every other call end; from any thread */
void dirs_cancel(struct dirs *f);

#endif
