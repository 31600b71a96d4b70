/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of hauler/save share. */
#ifndef HAUL_HAULER_SAVE_PRIV_H
#define HAUL_HAULER_SAVE_PRIV_H

#include <pthread.h>

#include "archive/archive.h"
#include "engine/sparse.h"
#include "hauler/save/save.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/keys/secret.h"
#include "transport/msg/wire.h"
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

/* Messages that are kept as they come, while they are written. One thread adds to it. */
struct save_log {
	struct Archive__Blob *blob; /* what is written already */
	const struct Archive__Blob *known; /* of the last state; NULL: none */
	size_t cap, hint;
	uint8_t *buf; /* the piece that is being filled */
	size_t n;
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
	bool owned, ends;
	int mark_left; /* of the state: running or stopped, until COMMIT */
	unsigned int owner, keep;
	uint64_t route;
	uint8_t secret[SECRET_BYTES];
	int images_fd;
	struct chan *ctl;
	struct Archive__State *state; /* until it is in the index */
	uint32_t number; /* of the state, when it is in the index; 0: it was dropped */
	bool durable, settled; /* the state is on the disk; nothing takes it back */
	uint64_t image_bytes;
	bool with_files; /* what they hold is kept */
	struct save_log files, tree; /* FILE_PART of the control connection, BATCH of its own */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t decided;
	bool go, stop, writing; /* the tree runs on; the save is given up; too late for that */
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

/* ---- files.c ---- */

/** save_files_seen() - ANSWER: is file @f of the offer to come? */
Haul__FileState save_files_seen(const struct save *s, const Haul__File *f);
/** save_files_known() - remember what the last state of the archive has */
void save_files_known(struct save *s);
/** save_files_part() - keep a part of a file */
int save_files_part(struct save *s, Haul__FilePart *part, struct err *e);
/** save_files_loop() - keep operations on directories until the connection ends */
int save_files_loop(struct conn *c, struct err *e);
/** save_files_finish() - all of it into the state */
int save_files_finish(struct save *s, struct err *e);
void save_files_free(struct save *s);

/* ---- state.c ---- */

/** save_state_begin() - from OFFER */
int save_state_begin(struct save *s, const Haul__Offer *o, struct err *e);
/** save_state_maps() - SWITCH: where each page of each object is. -ENODATA: one has not come */
int save_state_maps(struct save *s, const Haul__Switch *sw, struct err *e);
/** save_state_finish() - everything else, and make it durable, marked running */
int save_state_finish(struct save *s, struct err *e);
/** save_state_ended() - mark it ended, durably */
int save_state_ended(struct save *s, struct err *e);
/** save_state_drop() - the save was undone: the archive is as it was before, or gone if it is new */
void save_state_drop(struct save *s);

#endif
