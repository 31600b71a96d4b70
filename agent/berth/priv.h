/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what each kind of berth does. */
#ifndef HAUL_BERTH_PRIV_H
#define HAUL_BERTH_PRIV_H

#include "agent/berth/berth.h"
#include "common/local/stand.h"
#include "engine/container/container.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/room.h"

struct berth {
	const struct berth_kind *kind;
	char key[STAND_KEY_BYTES]; /* land */
	int stream[STAND_STREAMS]; /* land: the program's ends of its pipes */
	char dir[ROOM_DIR_BYTES]; /* bare, space, unit: the cgroup; empty: none of its own */
	int ctl; /* space: to process 1 of its pid namespace; -1: none, or the tree runs */
	uint32_t top; /* space: the tree's highest pid */
	struct pidspace pids; /* space, container: once the tree is restored */
	pthread_t thread; /* unit: makes it the main process */
	bool settling;
	/* container */
	struct asked *asked;
	struct wanted ask; /* the runtime's, of its restore */
	struct tool *runtime; /* its restore; NULL: not begun, or over */
	int archive; /* as it comes; -1 */
	uint64_t archive_bytes;
};

/* What a kind has nothing to do for is NULL. */
struct berth_kind {
	const char *name;
	int (*offer)(struct wrk *w, const struct Haul__Offer *o, struct findings *f, struct err *e);
	int (*start)(struct wrk *w, struct err *e);
	int (*spawn)(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
	             struct err *e);
	int (*map)(struct wrk *w, struct err *e);
	int (*part)(struct wrk *w, const struct Haul__Berth *m, const struct criu_inherit *v,
	            size_t n, struct err *e);
	void (*options)(struct wrk *w, struct criu_opts *o);
	int (*gate)(struct wrk *w, struct err *e);
	void (*runs)(struct wrk *w);
	void (*refused)(struct wrk *w);
	void (*undo)(struct wrk *w);
	void (*over)(struct wrk *w);
};

extern const struct berth_kind bare_kind, container_kind, land_kind, space_kind, unit_kind;

/* ---- bare.c: a cgroup of its own ---- */

/** bare_sweep() - remove what is left of earlier ones */
void bare_sweep(void);
/** bare_room() - make the room with @pid in it, or put @pid into the room that there is */
int bare_room(struct wrk *w, pid_t pid, struct err *e);
/** bare_leave() - remove it when it is empty */
void bare_leave(struct wrk *w);

#endif
