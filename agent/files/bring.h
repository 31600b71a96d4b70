/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bring.h - files of the offer that the source ships, at the destination. */
#ifndef HAUL_AGENT_BRING_H
#define HAUL_AGENT_BRING_H

#include <time.h>

#include "agent/files/place.h"
#include "common/digest.h"
#include "transport/msg/haul.pb-c.h"

struct wrk;
struct files_doubt;
struct file_id;

/* A file of the offer. temp and meta belong to the bytes received so far. */
struct bring_file {
	char *path, *link, *temp;
	uint32_t mode;
	uint64_t device, there_bytes;
	uint32_t uid, gid; /* of the file at the source */
	dev_t dev; /* the file here that was accepted or placed; ino 0: not known */
	ino_t ino;
	struct timespec compared; /* the time of its content, when that was compared */
	bool directory, write;
	bool behind_link; /* its path leads through a symbolic link here */
	uint8_t proven[DIGEST_BYTES]; /* of the first there_bytes, when state is FILE_TAIL */
	Haul__FileState state;
	int fd; /* -1: nothing received yet */
	Haul__FileMeta *meta;
	/* a log of which this host has an older copy; append.h */
	bool append;
	int to; /* the file here; -1: not opened */
	uint64_t done; /* its length, with what was appended so far */
	struct timespec ctime, mtime; /* after the last append */
};

struct bring {
	struct bring_file *v;
	size_t n;
	struct bring_file **by_path; /* the same, sorted */
	struct place *place; /* NULL: nothing received */
};

/** bring_new() - w->bring, from the offer and the answer; w->offer.doubts must be answered */
int bring_new(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen,
              const struct file_id *id, struct err *e);
/** bring_find() - the file of the offer that has this path here; NULL: none has */
const struct bring_file *bring_find(const struct bring *s, const char *path);
/** bring_part() - take bytes or metadata of a file */
int bring_part(struct wrk *w, const Haul__FilePart *part, struct err *e);
/** bring_place() - give every file its name; before the restore */
int bring_place(struct wrk *w, struct err *e);
/** bring_keep() - the process will run here: placed files stay */
void bring_keep(struct wrk *w);
/** bring_end() - remove the replaced files, or undo */
void bring_end(struct wrk *w);
void bring_free(struct bring *s);

#endif
