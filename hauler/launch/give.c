// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * give.c - give the program away: ask each host for who has landed under its key, until one takes it.
 * When nobody has, it is parked: it runs on without a caller for a bounded time.
 */
#include "hauler/launch/priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "engine/proc/proc.h"
#include "engine/proc/frost.h"
#include "engine/proc/room.h"

#define AGAIN_MS       1000
#define EXIT_ATTENTION 4 /* of haul: handed over, outcome unknown */

bool give_wanted(struct holder *h, int sig)
{
	struct give *g = &h->give;
	const struct opts *o = h->l->opt;

	if (!o->launch.give_on || sig != o->launch.give_signal || h->l->n_hosts == 0)
		return false;
	if (g->on)
		return true; /* it is under way */
	*g = (struct give){ .on = true,
		            .sig = sig,
		            .next_us = now_us(),
		            .until_us = deadline_in_ms(1000ull * o->launch.park_s) };
	return true;
}

/* ---- parked ---- */

/* What ends the caller's cgroup must not end the program. */
static void leave_cgroup(const struct holder *h)
{
	struct proc_list tree = { 0 };
	char name[40], dir[ROOM_DIR_BYTES];
	struct err e = ERR_INIT;

	snprintf(name, sizeof(name), "haul-tree-parked-%d", h->root);
	if (room_new(name, getpid(), dir, &e) < 0) {
		fprintf(stderr, "haul: the parked program stays in its cgroup: %s\n", e.msg);
		return;
	}
	if (procs_tree(h->root, &tree, &e) == 0)
		for (size_t i = 0; i < tree.n; i++)
			frost_enter(dir, tree.pid[i]);
	procs_fini(&tree);
}

static void park(struct holder *h)
{
	AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	leave_cgroup(h);
	h->parked = true;
	line_say(h->front, LINE_PARK, 0);
	dup2(null, STDERR_FILENO); /* who reads the caller's output to its end need not wait */
}

/* ---- tries ---- */

static void give_up(struct holder *h)
{
	h->give.on = false;
	if (!h->parked)
		fprintf(stderr, "haul: nobody takes the program: it gets signal %d\n", h->give.sig);
	kill(h->root, h->give.sig);
}

static void next_try(struct holder *h)
{
	struct give *g = &h->give;

	if (++g->host < h->l->n_hosts)
		return;
	g->host = 0;
	g->next_us = deadline_in_ms(AGAIN_MS);
	if (now_us() >= g->until_us)
		give_up(h);
	else if (!h->parked)
		park(h);
}

bool give_tried(struct holder *h, pid_t pid, int status)
{
	struct give *g = &h->give;

	if (!g->mover || g->mover != pid)
		return false;
	g->mover = 0;
	/* handed over: from now on the haul that completes it says what becomes of it */
	if (h->state == HOLD_GIVEN || (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_ATTENTION))
		g->on = false;
	else if (h->state == HOLD_RUNS && g->on)
		next_try(h);
	return true;
}

void give_step(struct holder *h)
{
	struct give *g = &h->give;

	if (!g->on || g->mover || h->state != HOLD_RUNS || now_us() < g->next_us)
		return;
	pid_t pid = start_mover(h, h->l->host[g->host]);

	if (pid > 0)
		g->mover = pid;
	else
		next_try(h);
}

uint64_t give_due_us(const struct holder *h)
{
	const struct give *g = &h->give;

	return g->on && !g->mover && h->state == HOLD_RUNS ? g->next_us : DEADLINE_NEVER;
}
