/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bring.h - files of the offer that the source ships, at the destination. */
#ifndef HAUL_AGENT_BRING_H
#define HAUL_AGENT_BRING_H

#include "agent/files/place.h"
#include "common/digest.h"
#include "transport/haul.pb-c.h"

struct wrk;
struct files_doubt;

/* A file of the offer. temp and meta belong to the bytes received so far. */
struct bring_file {
	char *path, *link, *temp;
	uint32_t mode;
	uint64_t device, there_bytes;
	bool directory, write;
	uint8_t proven[DIGEST_BYTES]; /* of the first there_bytes, when state is FILE_TAIL */
	Haul__FileState state;
	int fd; /* -1: nothing received yet */
	Haul__FileMeta *meta;
};

struct bring {
	struct bring_file *v;
	size_t n;
	struct place *place; /* NULL: nothing received */
};

/** bring_new() - w->bring, from the offer and the answer; w->doubts must be answered */
int bring_new(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen, struct err *e);
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
