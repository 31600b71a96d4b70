// SPDX-License-Identifier: GPL-2.0-or-later
/* judge.c - never two by accident: does what was saved, or loaded before, still live? */
#include "hauler/load/priv.h"

#include <string.h>
#include <time.h>

#include "archive/archive.pb-c.h"
#include "common/host/machine.h"
#include "common/printable.h"
#include "engine/proc/proc.h"

enum life { DEAD, ALIVE, UNKNOWN };

static enum life life_of(const Archive__Who *w, const struct machine *here)
{
	if (!here->id[0] || strcmp(w->machine, here->id))
		return UNKNOWN;
	if (strcmp(w->boot, here->boot))
		return DEAD;
	if (w->pidns != here->pidns)
		return UNKNOWN;
	return procs_start((pid_t)w->pid) == w->start && procs_lives((pid_t)w->pid) ? ALIVE : DEAD;
}

static bool same(const Archive__Who *a, const Archive__Who *b)
{
	return a->pid == b->pid && a->start == b->start && a->pidns == b->pidns &&
	       !strcmp(a->boot, b->boot) && !strcmp(a->machine, b->machine);
}

/* A later state of the same tree says that it was ended. */
static bool was_ended(const Archive__Index *x, const Archive__Who *w)
{
	for (size_t i = 0; i < x->n_state; i++)
		if (x->state[i]->mark == ARCHIVE__MARK__MARK_ENDED && same(x->state[i]->who, w))
			return true;
	return false;
}

static int refuse(const struct load *l, const Archive__Who *w, enum life life, const char *what,
                  struct err *e)
{
	char host[64];

	snprintf(host, sizeof(host), "%s", w->host);
	printable(host);
	if (life == ALIVE) {
		err_set(e, ERR_TARGET, EEXIST, "%s %s lives: process %u", l->path, what, w->pid);
		return err_fix(e, "end it first; or, if there are to be two, use --copy");
	}
	err_set(e, ERR_TARGET, EEXIST, "%s %s may live on %s (process %u)", l->path, what,
	        host[0] ? host : "another host", w->pid);
	return err_fix(e, "if it certainly does not, or there are to be two, use --copy");
}

static int judge(const struct load *l, const Archive__Index *x, const struct machine *here,
                 struct err *e)
{
	for (size_t i = 0; i < x->n_use; i++) {
		const Archive__Who *w = x->use[i]->who;
		enum life life = life_of(w, here);

		if (life != DEAD && !was_ended(x, w))
			return refuse(l, w, life, "was loaded, and that process", e);
	}
	for (size_t i = 0; i < x->n_state; i++) {
		const Archive__Who *w = x->state[i]->who;
		enum life life = life_of(w, here);

		if (life != DEAD && !was_ended(x, w))
			return refuse(l, w, life, "is of a program that was not ended, and that",
			              e);
	}
	if (l->can_note)
		return 0;
	err_set(e, ERR_TARGET, EROFS, "%s cannot be written to, so its use cannot be noted",
	        l->path);
	return err_fix(e, "if it is loaded nowhere else, use --copy");
}

int judge_uses(struct load *l, bool copy, struct err *e)
{
	struct machine here;

	machine_here(&here);
	return copy ? 0 : judge(l, archive_index(l->a), &here, e);
}

/* ---- the note ---- */

/* Those that are dead say nothing any more. */
static void forget_dead(Archive__Index *x, const struct machine *here)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_use; i++) {
		if (life_of(x->use[i]->who, here) == DEAD)
			archive__use__free_unpacked(x->use[i], NULL);
		else
			x->use[n++] = x->use[i];
	}
	x->n_use = n;
}

static Archive__Use *new_use(const struct machine *here, pid_t pid)
{
	Archive__Use *u = malloc(sizeof(*u));
	Archive__Who *w = malloc(sizeof(*w));

	if (!u || !w) {
		free(u);
		free(w);
		return NULL;
	}
	archive__use__init(u);
	archive__who__init(w);
	u->who = w;
	w->machine = strdup(here->id);
	w->boot = strdup(here->boot);
	w->host = strdup(here->host);
	w->pidns = here->pidns;
	w->pid = (uint32_t)pid;
	w->start = procs_start(pid);
	return u;
}

int load_use(struct load *l, pid_t pid, uint64_t route, struct err *e)
{
	Archive__Index *x = archive_index(l->a);
	struct machine here;
	struct timespec t;

	if (!l->can_note)
		return 0;
	machine_here(&here);
	forget_dead(x, &here);
	Archive__Use **v = realloc(x->use, (x->n_use + 1) * sizeof(Archive__Use *));
	Archive__Use *u = v ? new_use(&here, pid) : NULL;

	if (v)
		x->use = v;
	if (!u)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a note");
	clock_gettime(CLOCK_REALTIME, &t);
	u->state = l->state->number;
	u->id = route;
	u->time_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	v[x->n_use++] = u;
	return archive_commit(l->a, e);
}
