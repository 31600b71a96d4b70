/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ship.h - files of the offer that the source brings, at the destination. */
#ifndef HAUL_AGENT_SHIP_H
#define HAUL_AGENT_SHIP_H

#include "agent/place.h"
#include "common/digest.h"
#include "transport/haul.pb-c.h"

struct wrk;
struct files_doubt;

/* A file of the offer; temp and meta: of what has come of it. */
struct ship_file {
	char *path, *link, *temp;
	uint32_t mode;
	uint64_t device, there_bytes;
	bool directory, write;
	uint8_t proven[DIGEST_BYTES]; /* of the first there_bytes, when state is FILE_TAIL */
	Haul__FileState state;
	int fd; /* -1: nothing has come yet */
	Haul__FileMeta *meta;
};

struct ship {
	struct ship_file *v;
	size_t n;
	struct place *place; /* NULL: nothing has come */
};

/** shp_new() - remember what is to become of the offer's files; w->doubts are answered */
int shp_new(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen, struct err *e);
/** shp_part() - bytes of a file, or how it is to look */
int shp_part(struct wrk *w, const Haul__FilePart *part, struct err *e);
/** shp_place() - all get their names; before the restore */
int shp_place(struct wrk *w, struct err *e);
/** shp_keep() - the tree will run here: what was placed stays */
void shp_keep(struct wrk *w);
/** shp_end() - drop what was replaced, or undo */
void shp_end(struct wrk *w);
void shp_free(struct ship *s);

#endif
