/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of hauler/save share. */
#ifndef HAUL_HAULER_SAVE_PRIV_H
#define HAUL_HAULER_SAVE_PRIV_H

#include <pthread.h>

#include "archive/archive.h"
#include "engine/sparse.h"
#include "hauler/save/save.h"
#include "transport/haul.pb-c.h"
#include "transport/secret.h"
#include "transport/transport.h"

#define SAVE_CONNS_MAX 64
#define SAVE_OBJS_MAX  65536u

struct archive;
struct Archive__State;

/* A page that has come, or that the last state has. */
struct save_page {
	uint32_t piece; /* 0: zero */
	uint8_t first, flags;
	uint16_t round;
	uint8_t sum[ARCHIVE_SUM_BYTES];
};
enum { PAGE_HERE = 1, PAGE_KNOWN = 2 }; /* it has come; place and sum are valid */

struct save_obj {
	uint64_t obj;
	struct sparse *pages; /* struct save_page[SPARSE_PAGES], by vaddr / SPARSE_BYTES */
};

struct conn {
	struct save *s;
	struct chan *ch;
	pthread_t thread;
	uint32_t mark;
	bool data;
};

struct save {
	char *path;
	struct archive *a; /* NULL: it only answers */
	bool owned;
	unsigned int owner, keep;
	uint64_t route;
	uint8_t secret[SECRET_BYTES];
	int images_fd;
	struct chan *ctl;
	struct Archive__State *state; /* until it is in the index */
	uint32_t number; /* of the state, when it is durable */
	uint64_t image_bytes;

	pthread_mutex_t lock; /* all below */
	struct conn conn[SAVE_CONNS_MAX];
	unsigned int n_conns, n_streams;
	uint32_t marked;
	struct save_obj *obj;
	size_t n_objs, cap_objs;
};

/* ---- say.c ---- */

/** save_say() - on the control connection */
int save_say(struct save *s, int kind, const void *body, struct err *e);

/* ---- talk.c ---- */

/** save_talk() - a connection from its HELLO to its end; in a thread of its own */
void save_talk(struct conn *c);

/* ---- pages.c ---- */

/** save_pages_known() - remember what the last state of the archive has */
int save_pages_known(struct save *s, struct err *e);
/** save_pages_loop() - take page frames and marks until the connection ends */
int save_pages_loop(struct conn *c, struct err *e);
/** save_page() - NULL: nothing is known of it */
struct save_page *save_page(struct save *s, uint64_t obj, uint64_t vaddr);
void save_pages_free(struct save *s);

/* ---- state.c ---- */

/** save_state_begin() - from OFFER */
int save_state_begin(struct save *s, const Haul__Offer *o, struct err *e);
/** save_state_maps() - SWITCH: where each page of each object is. -ENODATA: one has not come */
int save_state_maps(struct save *s, const Haul__Switch *sw, struct err *e);
/** save_state_finish() - everything else, and make it durable, marked running */
int save_state_finish(struct save *s, struct err *e);
/** save_state_ended() - mark it ended, durably */
int save_state_ended(struct save *s, struct err *e);

#endif
