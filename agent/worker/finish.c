// SPDX-License-Identifier: GPL-2.0-or-later
/* finish.c - the tree runs: wait until the last page is in place, and tell the source. */
#include "agent/worker/finish.h"

#include <signal.h>
#include <unistd.h>

#include "agent/worker/huge.h"
#include "agent/worker/net.h"
#include "agent/worker/restore.h"
#include "agent/worker/tree.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/page.h"
#include "transport/msg/haul.pb-c.h"

#define PROGRESS_MS   250
#define BYE_LIMIT_MS  3000
#define TELL_EVERY_US 10000000
#define AWAY_LIMIT_US 5000000 /* after SIGTERM */

/* Return: the source is connected */
static bool say_progress(struct wrk *w)
{
	Haul__Progress p = HAUL__PROGRESS__INIT;
	struct pager_stats st;
	struct err ignore = ERR_INIT;

	pager_get_stats(w->pager, &st);
	p.left_pages = st.left_pages;
	p.left_remote_pages = st.left_remote_pages;
	p.faults = st.faults;
	return wrk_say(w, HAUL__MSG__BODY_PROGRESS, &p, &ignore) == 0;
}

/* @how: the tree has ended since, and how; or empty */
static void say_drained(struct wrk *w, char *how)
{
	Haul__Drained d = HAUL__DRAINED__INIT;
	struct pager_stats st;
	struct err e = ERR_INIT;

	pager_get_stats(w->pager, &st);
	d.lazy_pages = st.lazy_pages;
	d.faults = st.faults;
	d.faults_remote = st.faults_remote;
	d.fault_p50_us = st.fault_p50_us;
	d.fault_p99_us = st.fault_p99_us;
	d.fault_max_us = st.fault_max_us;
	d.degraded_us = st.degraded_us;
	d.fault_wait_us = st.fault_wait_us;
	d.fault_n = st.fault_n;
	d.n_fault_n = ARRAY_SIZE(st.fault_n);
	d.ended = how;
	d.store_peak_bytes = store_peak_pages(w->store) * PAGE_BYTES;
	if (wrk_say(w, HAUL__MSG__BODY_DRAINED, &d, &e) < 0)
		log_warn("cannot tell the source that it is done: %s", e.msg);
}

/*
 * Before DRAINED is said, for the source then kills its copy. Until it can be recorded both sides
 * wait: if we died now, the previous record would answer, and that answer kills the tree.
 */
static void record_done(struct wrk *w)
{
	struct err e = ERR_INIT;
	uint64_t told_us = 0;

	while (journal_add(w->journal, &e, "done", "%s", "") < 0) {
		if (now_us() - told_us > TELL_EVERY_US) {
			log_err("%s; the source keeps its copy until it can be recorded", e.msg);
			told_us = now_us();
		}
		err_clear(&e);
		usleep(PROGRESS_MS * 1000);
		say_progress(w);
	}
}

/* ---- SIGTERM, as every process gets it when the host shuts down ---- */

static volatile sig_atomic_t told_to_end;

static void note_sigterm(int sig)
{
	(void)sig;
	told_to_end = 1;
}

static void heed_sigterm(bool on)
{
	struct sigaction sa = { .sa_handler = on ? note_sigterm : SIG_DFL };

	sigaction(SIGTERM, &sa, NULL);
}

/*
 * Pages that are here are put in place first. But a tree that waits for pages of a source that is away
 * would wait, with us, until it is killed by force.
 */
static void end_waiting(struct wrk *w, bool linked, uint64_t *away_us)
{
	struct pager_stats st;

	pager_get_stats(w->pager, &st);
	if (linked || !told_to_end || !st.left_remote_pages) {
		*away_us = now_us();
		return;
	}
	if (now_us() - *away_us < AWAY_LIMIT_US)
		return;
	log_err("told to end while the source is away: the process, which waits for %llu pages, "
	        "is killed",
	        (unsigned long long)st.left_remote_pages);
	restore_kill(w);
	*away_us = now_us();
}

/* Until the pager has nothing left to do. */
static void fill(struct wrk *w)
{
	struct err e = ERR_INIT;
	uint64_t away_us = now_us();
	int r;

	heed_sigterm(true);
	settle_begin(&w->settle);
	restore_finish(w);
	net_in_running(w);
	pager_settled(w->pager);
	store_sweep(w->store);
	while ((r = pager_wait(w->pager, deadline_in_ms(PROGRESS_MS), &e)) == -ETIMEDOUT) {
		err_clear(&e);
		end_waiting(w, say_progress(w), &away_us);
	}
	heed_sigterm(false);
	if (r < 0) {
		log_err("the pager has stopped: %s; the tree waits for its pages", e.msg);
		for (;;)
			pause();
	}
}

/*
 * The tree has ended while pages were missing: then no copy is left here. That is on record before
 * it is said; at ABORT the source keeps its stopped copy for the operator.
 */
static void say_ended(struct wrk *w, char *how, uint64_t pages)
{
	struct err why = ERR_INIT, e = ERR_INIT;
	char text[TREE_ENDED_BYTES];

	tree_record_how(how);
	if (journal_add(w->journal, &e, "ended", "pages=%llu how=%s", (unsigned long long)pages,
	                how) < 0)
		log_err("%s", e.msg); /* the record before says "lost" to a source that asks */
	tree_ended(w->journal, text);
	err_set(&why, ERR_PEER, EOWNERDEAD, "%s", text);
	log_err("%s; the source keeps its stopped copy", why.msg);
	net_in_undo(w);
	wrk_say_abort(w, &why, false);
}

static void say_all(struct wrk *w, const struct tree_watch *t)
{
	char how[TREE_HOW_BYTES] = "";

	while (!settle_is_over(&w->settle)) {
		usleep(PROGRESS_MS * 100);
		say_progress(w);
	}
	fault_at(FAULT_D_FILLED);
	record_done(w);
	fault_at(FAULT_D_DONE_RECORDED);
	if (t->n && !tree_lives(t))
		tree_how(t, how);
	say_drained(w, how);
	fault_at(FAULT_D_DRAINED);
	log_info("every page is in place%s%s", how[0] ? "; the process has ended since: " : "",
	         how);
	huge_again(w);
}

/*
 * Did the tree end before it had all that it needs? A process that has executed another program, or
 * has left children, lives on. One that exited by itself, with all its pages on this host, has
 * lacked nothing.
 */
static bool ended_early(const struct tree_watch *t, const struct pager_stats *st,
                        char how[TREE_HOW_BYTES])
{
	if (!st->abandoned_pages || st->procs_live || tree_lives(t))
		return false;
	return !tree_how(t, how) || st->abandoned_remote_pages;
}

bool finish_fill(struct wrk *w)
{
	char how[TREE_HOW_BYTES];
	struct tree_watch t;
	struct pager_stats st;

	tree_watch_begin(&t, w);
	fill(w);
	pager_get_stats(w->pager, &st);
	bool ended = ended_early(&t, &st, how);

	if (ended)
		say_ended(w, how, st.abandoned_pages);
	else
		say_all(w, &t);
	tree_watch_end(&t);
	return !ended;
}

void finish_bye(struct wrk *w)
{
	uint64_t deadline = deadline_in_ms(BYE_LIMIT_MS);
	bool heard = false;

	while (!heard && now_us() < deadline) {
		Haul__Msg *bye = NULL;
		struct err e = ERR_INIT;

		pthread_mutex_lock(&w->ctl_lock);
		int r = w->ctl ? wire_recv(w->ctl, &bye, deadline_in_ms(PROGRESS_MS), &e)
		               : -ENOTCONN;

		pthread_mutex_unlock(&w->ctl_lock);
		heard = r == 0 && bye->body_case == HAUL__MSG__BODY_BYE;
		w->nobody_asks = heard;
		if (bye)
			haul__msg__free_unpacked(bye, NULL);
		if (r < 0 && r != -ETIMEDOUT)
			return;
	}
}
