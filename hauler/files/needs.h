/* SPDX-License-Identifier: GPL-2.0-or-later */
/* needs.h - files that the tree needs at the destination, and what the destination has of them. */
#ifndef HAUL_NEEDS_H
#define HAUL_NEEDS_H

#include <stdbool.h>

#include "common/auto.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/finding.h"
#include "hauler/rights/held.h"
#include "transport/msg/haul.pb-c.h"

struct mig;
struct inspect;
struct opts;
struct dirs_opts;

struct need {
	Haul__File file; /* as offered: its path is the one at the destination */
	char *here, *there; /* there: owned, file.path */
	struct held_file held; /* by which content is read; never by path */
	int fd; /* kept open for later passes; -1 */
	Haul__FileState state;
	uint64_t there_bytes; /* size of the file that the destination has at that path */
	uint8_t proven[DIGEST_BYTES]; /* the last digest that we sent of it */
	/* which blocks the destination has; bring.c */
	struct bring_block *block;
	size_t n_blocks;
	uint64_t sent_bytes;
	bool begun;
};

struct needs {
	struct need *v;
	size_t n, cap;
	void *by_there; /* the paths, for tsearch() */
	Haul__File **ptr; /* for the offer */
	const char *into_root; /* NULL: the root directory is not changed */
	const char *root; /* of the tree here */
	const struct dirs_opts *dirs; /* files in these come with them */
	pid_t root_pid; /* of the tree */
	unsigned int kept; /* descriptors that stay open */
	bool archived; /* the destination is an archive: what a file is like in the freeze is said of each that is written */
};

/**
 * needs_new() - list the files that the inspection found
 * @o: the root directory there, directories that move, and whether files do: then the directories above
 *     each file are listed, too, since the destination may have to make them
 */
int needs_new(struct needs **out, const struct inspect *insp, const struct opts *o,
              struct findings *f, struct err *e);
void needs_free(struct needs *n);
DEFINE_AUTO(needs, needs_free)

/** needs_offer() - put the list into OFFER, instead of the inspection's paths */
void needs_offer(const struct needs *n, Haul__Offer *o);
/** needs_seen() - note what the destination has, from ANSWER */
void needs_seen(struct needs *n, const Haul__Answer *a);
/**
 * needs_say_sqlite() - after needs_seen(): a warning for each SQLite database that will be another file
 * Return: 0; -ENOMEM
 */
int needs_say_sqlite(const struct needs *n, const struct inspect *insp, struct findings *out);
/**
 * needs_tidy() - the tree has moved and its copy here has ended: remove its files from /dev/shm that no
 * other process has. What fails is logged.
 */
void needs_tidy(struct needs *n);
/** needs_digest() - XXH128 of the first @bytes of file @k. Return: 0; -errno */
/** needs_prove() - the destination asks in DOUBT: send digests of our files */
int needs_prove(struct mig *m, const Haul__Doubt *d, struct err *e);
int needs_digest(struct needs *n, uint32_t k, uint64_t bytes, uint64_t seed, uint8_t *out);
/**
 * needs_still() - the tree is stopped: put size and times of shared files into SWITCH
 * @s: s->still is the caller's, needs_still_free()
 * Return: 0; -ESTALE a file that was the same at the destination has changed here
 */
int needs_still(const struct needs *n, Haul__Switch *s, struct err *e);
/** needs_looks_again() - will needs_still() see whether @k's name leads to another file by now? */
bool needs_looks_again(const struct needs *n, const struct need *k);
void needs_still_free(Haul__Switch *s);
/** needs_reroot() - change the root directory in CRIU's images, too */
int needs_reroot(const struct needs *n, int images_fd, struct err *e);
/** bring_files() - send the files: @first: all of them, else what changed of those that are written */
int bring_files(struct mig *m, bool first, struct err *e);
/**
 * needs_open() - open a regular file for reading, through the process that holds it, if its path still
 * leads to it. Return: a descriptor of @n, until needs_close(); -errno
 */
int needs_open(struct needs *n, struct need *k, struct err *e);
/** needs_close() - after a pass; files that are written stay open for the next one */
void needs_close(struct needs *n, struct need *k);
/** needs_travels() - will this file be sent? The destination applies the same rule */
bool needs_travels(const struct need *k);
/** needs_word() - "same", "missing", ... */
const char *needs_word(Haul__FileState s);

#endif
