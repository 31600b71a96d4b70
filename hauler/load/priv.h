/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of hauler/load share. */
#ifndef HAUL_HAULER_LOAD_PRIV_H
#define HAUL_HAULER_LOAD_PRIV_H

#include <pthread.h>

#include "archive/archive.h"
#include "archive/pagemap.h"
#include "hauler/load/load.h"

#define LOAD_CACHE 16 /* pieces */

struct load_obj {
	uint64_t obj;
	struct pagemap map;
};

struct cached {
	uint64_t piece, used;
	size_t bytes;
	uint8_t *raw;
};

/* A file of the offer, as the worker has found it. */
struct load_seen {
	bool travels;
	uint64_t bytes; /* from here on */
};

struct load {
	char *path;
	const char *config, *criu; /* for the worker */
	bool verbose;
	struct archive *a;
	bool can_note; /* the archive can be written to */
	struct Archive__State *state; /* of the index */
	struct Haul__Offer *offer;
	struct Haul__Switch *switch_over;
	struct load_obj *obj;
	size_t n_objs;
	struct load_seen *seen; /* of each file of the offer; NULL: the worker has not answered */

	pthread_mutex_t lock; /* of the cache */
	struct cached cache[LOAD_CACHE];
	uint64_t clock;
	bool committed, stop, told; /* atomic */
};

/* ---- judge.c ---- */

/** judge_uses() - -EEXIST: one may live */
int judge_uses(struct load *l, bool copy, struct err *e);

/* ---- pages.c: members of struct pages ---- */

/** load_read() - @read of struct pages: after load_commit() it waits while the archive cannot be read */
int load_read(void *arg, uint64_t obj, uint64_t vaddr, void *buf, size_t pages, struct err *e);
/** load_has() - @has of struct pages: does the state have pages of this object? */
bool load_has(void *arg, uint64_t obj);

/* ---- dial.c ---- */

/** load_dial() - @dial of struct link: route 0 starts the worker; others reach it, or who answers from its journal */
int load_dial(void *arg, uint64_t route, struct err *e);

#endif
