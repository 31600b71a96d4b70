// SPDX-License-Identifier: GPL-2.0-or-later
/* successor.c - the process that continues a committed migration when its worker has died. */
#include "agent/worker/successor.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "agent/files/place.h"
#include "agent/gate/made.h"
#include "agent/worker/net.h"
#include "agent/worker/restore.h"
#include "agent/worker/streams.h"
#include "agent/worker/worker.h"
#include "common/clock.h"
#include "common/log.h"

#define CRIU_LIMIT_MS   30000
#define OPEN_AFTER_S    2
#define JOURNAL_EVERY_S 10
#define LET_GO_US       50000
#define LET_GO_TIMES    400

/* Shipped files stay or are undone, as the record says. Its lock is held like the journal's. */
static void end_files(struct wrk *w)
{
	if (w->keep->place_fd < 0)
		return;
	close(w->keep->place_fd);
	w->keep->place_fd = -1;
	place_adopt(w->route);
}

/* No instruction of the tree has run, or that is not known: kill this copy, and record it. */
static int end_it(struct wrk *w, struct guard *g, const char *word, const char *why)
{
	struct err e = ERR_INIT;

	log_err("pid %d: %s; its copy here is killed", w->root_pid, why);
	restore_kill(w);
	net_in_undo(w);
	end_files(w);
	berth_undo(w);
	if (journal_add(w->journal, &e, word, "%s", "") < 0)
		log_err("%s", e.msg);
	guard_over(g);
	return 1;
}

static int let_criu_end(struct criu *c, struct err *e)
{
	int r = criu_reply(c, true, e);

	return r < 0 ? r : criu_pump(c, CRIU_EV_DONE, NULL, deadline_in_ms(CRIU_LIMIT_MS), e);
}

/*
 * The worker has died with CRIU at the gate, before or after it answered CRIU. An extra answer
 * does no harm: CRIU takes it for the next question, and all are answered with yes.
 * Return: 0; -errno: CRIU does not say that the tree runs
 */
static int finish_criu(struct wrk *w)
{
	AUTO(criu) struct criu *c = NULL;
	struct err e = ERR_INIT;
	int r = criu_adopt(&c, w->keep->criu_rpc, w->keep->criu_pid, &e);

	if (r == 0 && w->keep->relay_rpc >= 0)
		criu_relay(c, dup(w->keep->relay_rpc));
	if (r == 0)
		r = let_criu_end(c, &e);
	if (r < 0)
		log_warn("CRIU after the worker's death: %s", e.msg);
	guard_unkeep(w->guard, w->keep->criu_rpc);
	w->keep->criu_rpc = -1;
	return r;
}

/*
 * We have inherited the dead worker's descriptor and its lock: no other process had it in between.
 * Without the journal we guess nothing and keep the lock: everything stays as it is.
 */
static void take_journal(struct wrk *w)
{
	struct err e = ERR_INIT;

	while (journal_take(&w->journal, JOURNAL_DIR, JOURNAL_DEST, w->route, w->keep->journal_fd,
	                    &e) < 0) {
		log_err("pid %d: %s; threads that need a missing page wait", w->root_pid, e.msg);
		err_clear(&e);
		sleep(JOURNAL_EVERY_S);
	}
}

static bool committed(const struct wrk *w)
{
	const char *word = journal_word(w->journal);

	return !strcmp(word, "commit") || !strcmp(word, "done") || !strcmp(word, "ended");
}

int successor_main(void *arg, struct guard *g)
{
	struct wrk *w = arg;
	struct pager_ops ops = { .want = streams_want, .arg = w };
	struct err e = ERR_INIT;

	w->guard = g;
	w->keep = guard_user(g);
	memcpy(w->secret, w->keep->secret, sizeof(w->secret));
	w->root_pid = w->keep->root_pid;
	w->images_fd = w->keep->images_fd;
	net_in_adopt(w);
	berth_adopt(w);
	take_journal(w);
	if (!committed(w)) {
		log_warn("the worker died before the commit was on record: undone");
		net_in_undo(w);
		end_files(w);
		guard_over(g);
		return 1;
	}
	if (!w->keep->opening)
		return end_it(w, g, "undone", "the worker died before it opened the gate");
	if (store_new(&w->store, &e) < 0 || pager_adopt(&w->pager, g, w->store, &ops, &e) < 0) {
		/* its userfaultfds stay open */
		log_err("pid %d: the pager cannot continue: %s; threads that need a missing page "
		        "wait",
		        w->root_pid, e.msg);
		for (;;)
			pause();
	}
	if (w->keep->criu_rpc >= 0 && finish_criu(w) < 0 && !w->keep->resumed)
		return end_it(w, g, "lost", "the worker died, and CRIU while it opened the gate");
	w->keep->resumed = true;
	berth_runs(w);
	net_in_open(w);
	end_files(w);
	return worker_continue(w);
}

/*
 * CRIU kills the tree when the last of us has ended, and removes its own files; until then the
 * tree's sockets must stay locked, and directories that were made for it are in use. If its tasks hang,
 * we kill them.
 */
static void undo_later(struct wrk *w, bool locked)
{
	if (fork() != 0)
		return;
	/* the log stays open */
	syscall(SYS_close_range, 0, STDERR_FILENO - 1, 0);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	made_end_orphans(w->keep->criu_pid, w->keep->criu_start);
	berth_adopt(w);
	berth_undo(w);
	/* the lock of the record ends with the last of us, too */
	for (int i = 0; i < LET_GO_TIMES && place_adopt(w->route) == -EAGAIN; i++)
		usleep(LET_GO_US);
	if (locked) {
		sleep(OPEN_AFTER_S);
		net_in_adopt(w);
		net_in_undo(w);
	}
	_exit(0);
}

void successor_undone(void *arg, struct guard *g)
{
	struct wrk *w = arg;

	w->keep = guard_user(g);
	bool locked = w->keep->net.locked;

	if (locked) {
		net_in_adopt(w);
		net_in_take_off(w);
	}
	if (locked || w->keep->place_fd >= 0 || w->keep->criu_start || w->keep->unit_changed ||
	    w->keep->container.made)
		undo_later(w, locked);
}
