// SPDX-License-Identifier: GPL-2.0-or-later
/* bare.c - the berth of a tree for which nobody waits: a cgroup of its own, not hauld's. */
#include "agent/berth/priv.h"

#include "common/log.h"
#include "engine/proc/frost.h"

#define PREFIX "haul-tree-"

void bare_sweep(void)
{
	room_sweep(PREFIX);
}

static int start(struct wrk *w, struct err *e)
{
	(void)w;
	(void)e;
	bare_sweep();
	return 0;
}

/* The first CRIU has the room made; one that takes that one's place is put beside it. */
int bare_room(struct wrk *w, pid_t pid, struct err *e)
{
	struct berth *b = w->berth;
	char name[40];

	if (b->dir[0])
		return frost_enter(b->dir, pid);
	snprintf(name, sizeof(name), PREFIX "%016llx", (unsigned long long)w->route);
	return room_new(name, pid, b->dir, e);
}

/* A host that gives no cgroup is no reason to refuse: then the tree is in hauld's. */
static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	struct criu *before = w->criu;
	struct err why = ERR_INIT;

	w->criu = NULL;
	int r = criu_spawn_rooted(&w->criu, w->conf->criu_path, root, v, n, e);

	if (r == 0 && bare_room(w, criu_pid(w->criu), &why) < 0)
		log_warn("the process will be in hauld's cgroup: %s", why.msg);
	criu_free(before);
	return r;
}

void bare_leave(struct wrk *w)
{
	room_end(w->berth->dir);
}

const struct berth_kind bare_kind = {
	.name = "bare",
	.start = start,
	.spawn = spawn,
	.undo = bare_leave,
};
