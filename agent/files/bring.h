/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bring.h - files of the offer that the source brings, at the destination. */
#ifndef HAUL_AGENT_BRING_H
#define HAUL_AGENT_BRING_H

#include "agent/files/place.h"
#include "common/digest.h"
#include "transport/haul.pb-c.h"

struct wrk;
struct files_doubt;

/* A file of the offer; temp and meta: of what has come of it. */
struct bring_file {
	char *path, *link, *temp;
	uint32_t mode;
	uint64_t device, there_bytes;
	bool directory, write;
	uint8_t proven[DIGEST_BYTES]; /* of the first there_bytes, when state is FILE_TAIL */
	Haul__FileState state;
	int fd; /* -1: nothing has come yet */
	Haul__FileMeta *meta;
};

struct bring {
	struct bring_file *v;
	size_t n;
	struct place *place; /* NULL: nothing has come */
};

/** brg_new() - remember what is to become of the offer's files; w->doubts are answered */
int brg_new(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen, struct err *e);
/** brg_part() - bytes of a file, or how it is to look */
int brg_part(struct wrk *w, const Haul__FilePart *part, struct err *e);
/** brg_place() - all get their names; before the restore */
int brg_place(struct wrk *w, struct err *e);
/** brg_keep() - the tree will run here: what was placed stays */
void brg_keep(struct wrk *w);
/** brg_end() - drop what was replaced, or undo */
void brg_end(struct wrk *w);
void brg_free(struct bring *s);

#endif
