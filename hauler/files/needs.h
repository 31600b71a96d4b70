/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs.h - files that the tree needs at the destination, and what is there of them. */
#ifndef HAUL_NEEDS_H
#define HAUL_NEEDS_H

#include <stdbool.h>

#include "common/auto.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/finding.h"
#include "transport/haul.pb-c.h"

struct mig;
struct inspect;
struct opts;
struct dirs_opts;

struct need {
	Haul__File file; /* as offered: its path is the one at the destination */
	char *here, *there; /* there: owned, file.path */
	Haul__FileState state;
	uint64_t there_bytes; /* of what the destination has at that path */
	uint8_t proven[DIGEST_BYTES]; /* last answer about it */
	/* what the destination has of it, by blocks; bring.c */
	struct bring_block *block;
	size_t n_blocks;
	uint64_t sent_bytes;
	bool begun;
};

struct needs {
	struct need *v;
	size_t n, cap;
	void *by_there; /* the paths, a tsearch() tree */
	Haul__File **ptr; /* for the offer */
	const char *into_root; /* NULL: the root directory stays what it is */
	const char *root; /* of the tree here */
	const struct dirs_opts *trees; /* what is in these comes with them */
};

/**
 * needs_new() - from the inspection; @o: the root directory there, which trees travel, and
 * whether files do: then the directories above each belong to it, which may have to be made
 */
int needs_new(struct needs **out, const struct inspect *insp, const struct opts *o,
              struct findings *f, struct err *e);
void needs_free(struct needs *n);
DEFINE_AUTO(needs, needs_free)

/** needs_offer() - into the offer, in the place of the inspection's paths */
void needs_offer(const struct needs *n, Haul__Offer *o);
/** needs_seen() - from the answer */
void needs_seen(struct needs *n, const Haul__Answer *a);
/** needs_digest() - XXH128 of the first @bytes of file @k. Return: 0; -errno */
int needs_digest(struct needs *n, uint32_t k, uint64_t bytes, uint64_t seed, uint8_t *out);
/**
 * needs_still() - the tree stands: shared files as they are now, into SWITCH
 * @s: s->still is to be freed by needs_still_free()
 * Return: 0; -ESTALE a file that was the same at the destination has changed here
 */
int needs_still(const struct needs *n, Haul__Switch *s, struct err *e);
void needs_still_free(Haul__Switch *s);
/** needs_reroot() - in CRIU's images, too */
int needs_reroot(const struct needs *n, int images_fd, struct err *e);
/** bring_files() - to the destination: all at first, later what changed of those that are written */
int bring_files(struct mig *m, bool first, struct err *e);
struct Haul__Doubt;
/** talk_prove() - answer DOUBT, the destination's question about files. Return: 0; -errno */
int talk_prove(struct mig *m, const struct Haul__Doubt *d, struct err *e);
/** needs_travels() - is this one to be shipped? The same rule as at the destination */
bool needs_travels(const struct need *k);
/** needs_word() - "same", "missing", ... */
const char *needs_word(Haul__FileState s);

#endif
