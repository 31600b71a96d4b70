/* SPDX-License-Identifier: GPL-2.0-or-later */
/* files.h - the files of an OFFER beside those of this host. Looks, and touches nothing. */
#ifndef HAUL_AGENT_FILES_H
#define HAUL_AGENT_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <time.h>

#include "agent/check/rights.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/finding.h"
#include "transport/msg/haul.pb-c.h"

#define FILES_SAID_MAX 16 /* findings of one kind; the rest is a number */

struct file_id {
	dev_t dev;
	ino_t ino; /* 0: not known */
	struct timespec mtime; /* when it was compared */
	uint32_t file; /* of the offer */
	pid_t by; /* out: a process that has it open or mapped; 0: no process */
};

/* A file whose first bytes have to be compared. */
struct files_doubt {
	uint32_t file; /* of the offer */
	uint64_t bytes;
	bool known; /* is theirs set? */
	uint8_t theirs[DIGEST_BYTES];
};

/** files_prove_fn - ask the source to fill @v. Return: 0; -errno */
typedef int (*files_prove_fn)(void *arg, struct files_doubt *v, size_t n, struct err *e);

struct files {
	const Haul__Offer *o;
	Haul__FileSeen *seen; /* as many as files of the offer; filled */
	uint64_t seed; /* of digests */
	const char *allow, *key; /* of allow_dir(); allow NULL: anywhere */
	const struct rights *rights; /* of the tree */
	struct file_id *id; /* out: the file here, one for each of the offer; may be NULL */
	files_prove_fn prove; /* NULL: sizes and build-ids have to do */
	void *arg;
	struct findings *out;
	const bool *absent; /* mount points of the offer that are not mount points here */
	/* kept while looking */
	struct files_doubt *doubt;
	size_t n_doubt;
	uint64_t doubt_bytes;
	unsigned int missing, differing, denied;
	bool no_memory;
};

/** files_check() - fill f->seen, and add blockers to f->out. Return: 0; -errno */
int files_check(struct files *f, struct err *e);

/* ---- files_say.c ---- */

/** files_is_log() - does the tree only append to it, or otherwise write without reading? */
bool files_is_log(const Haul__File *f);
/** files_judge() - with f->seen complete: add blockers, and say which files will be shipped */
void files_judge(struct files *f);
/** files_clean() - make text of the other host fit for a terminal: one line, no escapes */
const char *files_clean(const char *text, char *out, size_t bytes);

/**
 * locks_check() - a lock that the tree has on @file, and a process of this host on @fd, the file here
 * Return: 0; -ENOMEM
 */
int locks_check(const Haul__File *file, int fd, struct findings *out);

/** files_say_denied() - no process of the tree may have it here. @r: of rights_find() */
void files_say_denied(struct files *f, const Haul__File *file, int r);

/* ---- users.c ---- */

/** users_of() - which processes use these files? Walks /proc once */
void users_of(struct file_id *v, size_t n);

#endif
