// SPDX-License-Identifier: GPL-2.0-or-later
/* successor.c - the process that goes on with a committed migration when its worker died. */
#include "agent/agent.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define CRIU_LIMIT_MS 30000
#define OPEN_AFTER_S  2

/*
 * The worker may have died with CRIU at the gate, its answer given or not. One answer too
 * many does no harm: CRIU takes it for the next question, and all are answered with yes.
 */
static void finish_criu(struct wrk *w)
{
	AUTO(criu) struct criu *c = NULL;
	struct err e = ERR_INIT;
	int r = criu_adopt(&c, w->keep->criu_rpc, w->keep->criu_pid, &e);

	if (r == 0)
		r = criu_reply(c, true, &e);
	if (r == 0)
		r = criu_pump(c, CRIU_EV_DONE, NULL, deadline_in_ms(CRIU_LIMIT_MS), &e);
	if (r < 0)
		log_warn("CRIU after the worker's death: %s", e.msg);
	guard_unkeep(w->guard, w->keep->criu_rpc);
	w->keep->criu_rpc = -1;
}

/* The lock goes with the dead worker's descriptor, which we have still. */
static int take_journal(struct wrk *w, struct err *e)
{
	guard_unkeep(w->guard, w->keep->journal_fd);
	close(w->keep->journal_fd);
	int r = journal_adopt(&w->journal, JOURNAL_DIR, JOURNAL_DEST, w->route, e);

	if (r == 0) {
		w->keep->journal_fd = journal_fd(w->journal);
		guard_keep(w->guard, w->keep->journal_fd);
	}
	return r;
}

static bool committed(const struct wrk *w)
{
	const char *word = journal_word(w->journal);

	return !strcmp(word, "commit") || !strcmp(word, "done");
}

int suc_main(void *arg, struct guard *g)
{
	struct wrk *w = arg;
	struct pager_ops ops = { .want = rcv_want, .arg = w };
	struct err e = ERR_INIT;

	w->guard = g;
	w->keep = guard_user(g);
	memcpy(w->secret, w->keep->secret, sizeof(w->secret));
	w->root_pid = w->keep->root_pid;
	w->images_fd = w->keep->images_fd;
	if (take_journal(w, &e) < 0) {
		log_err("the journal of pid %d: %s; going on without it", w->root_pid, e.msg);
		err_clear(&e);
	} else if (!committed(w)) {
		log_warn("the worker died before the commit was on record: undone");
		anet_adopt(w);
		anet_undo(w);
		guard_over(g);
		return 1;
	}
	int r = store_new(&w->store, &e);

	if (r == 0)
		r = pager_adopt(&w->pager, g, w->store, &ops, &e);
	if (r < 0) {
		/* its descriptors stay open */
		log_err("pid %d: the pager cannot go on: %s; what needs its pages waits",
		        w->root_pid, e.msg);
		for (;;)
			pause();
	}
	if (w->keep->criu_rpc >= 0)
		finish_criu(w);
	anet_adopt(w);
	anet_open(w);
	return wrk_go_on(w);
}

/* CRIU ends the tree when the last of us has ended; until then its sockets may not speak. */
static void open_later(struct wrk *w)
{
	if (fork() != 0)
		return;
	syscall(SYS_close_range, 0, ~0U, 0);
	sleep(OPEN_AFTER_S);
	anet_adopt(w);
	anet_undo(w);
	_exit(0);
}

void suc_undone(void *arg, struct guard *g)
{
	struct wrk *w = arg;

	w->keep = guard_user(g);
	if (!w->keep->net.locked)
		return;
	anet_adopt(w);
	anet_take_off(w);
	open_later(w);
}
