// SPDX-License-Identifier: GPL-2.0-or-later
/* bare.c - the berth of a tree for which nobody waits: a cgroup of its own, not hauld's. */
#include "agent/berth/priv.h"

#include "common/log.h"
#include "engine/proc/frost.h"

#define PREFIX "haul-tree-"

static int start(struct wrk *w, struct err *e)
{
	(void)w;
	(void)e;
	room_sweep(PREFIX);
	return 0;
}

/* The first CRIU has the room made; one that takes that one's place is put beside it. */
static int enter(struct wrk *w, struct err *e)
{
	struct berth *b = w->berth;
	char name[40];

	if (b->dir[0])
		return frost_enter(b->dir, criu_pid(w->criu));
	snprintf(name, sizeof(name), PREFIX "%016llx", (unsigned long long)w->route);
	return room_new(name, criu_pid(w->criu), b->dir, e);
}

/* A host that gives no cgroup is no reason to refuse: then the tree is in hauld's. */
static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	struct criu *before = w->criu;
	struct err why = ERR_INIT;

	w->criu = NULL;
	int r = criu_spawn_rooted(&w->criu, w->conf->criu_path, root, v, n, e);

	if (r == 0 && enter(w, &why) < 0)
		log_warn("the process will be in hauld's cgroup: %s", why.msg);
	criu_free(before);
	return r;
}

static void undo(struct wrk *w)
{
	room_end(w->berth->dir);
}

const struct berth_kind bare_kind = {
	.name = "bare",
	.start = start,
	.spawn = spawn,
	.undo = undo,
};
