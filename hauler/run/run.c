// SPDX-License-Identifier: GPL-2.0-or-later
/* run.c - the states of a migration at the source. The only file that writes m->state. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "hauler/load/load.h"
#include "hauler/mig/sockets.h"
#include "hauler/report/costs.h"
#include "hauler/report/report.h"
#include "hauler/save/save.h"

struct step {
	enum mig_state next; /* next state after success; RELINK chooses its own */
	struct state_facts facts;
	int (*run)(struct mig *m, struct err *e);
	void (*undo)(struct mig *m); /* NULL: nothing to undo, or after the commit */
};

#define TO(s) BIT(MIG_##s)

/* COMMIT is the point of no return: from there on no row has an undo; RELINK may find
 * that COMMIT never arrived, and then undoes what RESTORE and those before it did. */
static const struct step steps[] = {
	/* clang-format off */
[MIG_NEW]       = { MIG_CONNECT,   { "new",       TO(CONNECT) | TO(RELINK),                      HOME_SOURCE, false }, NULL,            NULL },
[MIG_CONNECT]   = { MIG_NEGOTIATE, { "connect",   TO(NEGOTIATE) | TO(UNDO),                      HOME_SOURCE, false }, connect_run,     connect_undo },
[MIG_NEGOTIATE] = { MIG_PREPARE,   { "negotiate", TO(PREPARE) | TO(UNDO),                        HOME_SOURCE, false }, negotiate_run,   NULL },
[MIG_PREPARE]   = { MIG_ROUNDS,    { "prepare",   TO(ROUNDS) | TO(UNDO),                         HOME_SOURCE, false }, connect_prepare, connect_prepare_undo },
[MIG_ROUNDS]    = { MIG_FREEZE,    { "rounds",    TO(FREEZE) | TO(UNDO),                         HOME_SOURCE, false }, rounds_run,      rounds_undo },
[MIG_FREEZE]    = { MIG_SEND,      { "freeze",    TO(SEND) | TO(UNDO),                           HOME_NOBODY, true },  freeze_run,      freeze_undo },
[MIG_SEND]      = { MIG_RESTORE,   { "send",      TO(RESTORE) | TO(UNDO),                        HOME_NOBODY, true },  switch_send,     NULL },
[MIG_RESTORE]   = { MIG_COMMIT,    { "restore",   TO(COMMIT) | TO(UNDO),                         HOME_NOBODY, true },  switch_restore,  switch_restore_undo },
[MIG_COMMIT]    = { MIG_POSTCOPY,  { "commit",    TO(POSTCOPY) | TO(RELINK) | TO(UNDO),          HOME_DEST,   false }, switch_commit,   NULL },
[MIG_POSTCOPY]  = { MIG_DONE,      { "post-copy", TO(DONE) | TO(RELINK) | TO(LOST),              HOME_DEST,   false }, postcopy_run,    NULL },
[MIG_RELINK]    = { MIG_RELINK,    { "relink",    TO(POSTCOPY) | TO(DONE) | TO(UNDO) | TO(LOST), HOME_DEST,   false }, relink_run,      NULL },
[MIG_DONE]      = { MIG_DONE,      { "done",      0,                                             HOME_DEST,   false }, NULL,            NULL },
[MIG_UNDO]      = { MIG_UNDONE,    { "undo",      TO(UNDONE),                                    HOME_SOURCE, false }, NULL,            NULL },
[MIG_UNDONE]    = { MIG_UNDONE,    { "undone",    0,                                             HOME_SOURCE, false }, NULL,            NULL },
[MIG_LOST]      = { MIG_LOST,      { "lost",      0,                                             HOME_DEST,   false }, NULL,            NULL },
	/* clang-format on */
};
_Static_assert(ARRAY_SIZE(steps) == MIG_NSTATES, "a state has no row");

/* A load passes the same states; what is stopped is in the archive. */
static const struct {
	int (*run)(struct mig *m, struct err *e);
	void (*undo)(struct mig *m);
} loads[MIG_NSTATES] = {
	[MIG_CONNECT] = { from_archive_connect, from_archive_undo },
	[MIG_NEGOTIATE] = { from_archive_negotiate, NULL },
	[MIG_PREPARE] = { from_archive_prepare, connect_prepare_undo },
	[MIG_ROUNDS] = { from_archive_rounds, NULL },
	[MIG_FREEZE] = { from_archive_freeze, NULL },
	[MIG_SEND] = { from_archive_send, NULL },
	[MIG_RESTORE] = { from_archive_restore, switch_restore_undo },
	[MIG_COMMIT] = { from_archive_commit, NULL },
	[MIG_POSTCOPY] = { postcopy_run, NULL },
	[MIG_RELINK] = { relink_run, NULL },
};

const char *run_state_name(enum mig_state s)
{
	return (unsigned int)s < MIG_NSTATES ? steps[s].facts.name : "?";
}

enum mig_home run_state_home(enum mig_state s)
{
	return steps[s].facts.home;
}

bool run_may(enum mig_state from, enum mig_state to)
{
	return steps[from].facts.may_go_to & BIT(to);
}

static void enter(struct mig *m, enum mig_state to)
{
	log_info("state=%s next=%s", m->at->name, steps[to].facts.name);
	/* talk_next() of another thread reads it */
	__atomic_store_n(&m->state, to, __ATOMIC_RELAXED);
	__atomic_store_n(&m->at, &steps[to].facts, __ATOMIC_RELAXED);
	report_state(m);
}

/*
 * A step chose a state that the table does not allow: undo; after COMMIT keep the stopped copy, and let
 * the operator decide. Both are safe.
 */
static enum mig_state refused(struct mig *m, enum mig_state to)
{
	err_set(&m->err, ERR_BUG, EINVAL, "no edge %s -> %s", m->at->name, steps[to].facts.name);
	return m->halt.committed ? MIG_LOST : MIG_UNDO;
}

/* The tree runs already, or is left stopped: wait until its state is durable. m->err: what became of that */
static void finish_save(struct mig *m)
{
	record_end(m, true);
	err_clear(&m->err);
	if (save_wait(m, &m->err) == 0)
		return;
	m->kept = false;
	if (m->opt->archive.stop)
		freeze_resume(m);
}

/* Undo the steps that were begun, last first: the tree resumes before anything else. */
static void undo_from(struct mig *m, enum mig_state failed)
{
	struct err why = m->err;

	if (!m->kept)
		save_stop(m->save);
	enter(m, MIG_UNDO);
	record_undone(m);
	fault_at(FAULT_S_UNDO);
	for (int s = (int)failed; s > MIG_NEW; s--) {
		void (*undo)(struct mig * m) = m->load ? loads[s].undo : steps[s].undo;

		if (undo)
			undo(m);
	}
	fault_at(FAULT_S_UNDONE);
	m->err = why;
	if (m->kept)
		finish_save(m);
	enter(m, MIG_UNDONE);
}

/* After a step that failed. Return: the state that deals with it */
static enum mig_state after_failure(const struct mig *m)
{
	/* whatever happened after COMMIT, the destination's record decides */
	bool link = m->err.src == ERR_LINK || m->state == MIG_COMMIT;

	if (!m->halt.committed)
		return MIG_UNDO;
	return link && (m->at->may_go_to & TO(RELINK)) ? MIG_RELINK : MIG_LOST;
}

/* A step that still waited when the tree had been stopped for too long: its own words name only whom it waited for. */
static void say_late(struct mig *m)
{
	if (m->err.code != ETIMEDOUT || !m->at->frozen || now_us() < mig_freeze_end(m))
		return;
	struct freeze_max max = mig_freeze_max(m);

	err_wrap(&m->err, "the stop took longer than %s, %u ms", max.option, max.ms);
	if (!*m->err.fix)
		err_fix(&m->err,
		        "nothing has changed: try again when the program writes less and the "
		        "hosts are less busy, or with a larger --%s",
		        max.option);
}

/* A file of /proc that is not there: the program was killed, or has ended, while we looked at it. What an
 * inspection says of a process (ERR_TARGET) says so already. */
static void say_ended(struct mig *m)
{
	bool absent = m->err.code == ENOENT || m->err.code == ESRCH;

	if (!absent || m->err.src != ERR_SYS || !procs_ends(m->opt->pid))
		return;
	err_clear(&m->err);
	err_set(&m->err, ERR_SYS, ESRCH, "process %d has ended", m->opt->pid);
}

/* The fault point after each step. */
static const enum fault passed[MIG_NSTATES] = {
	[MIG_CONNECT] = FAULT_S_CONNECTED,    [MIG_NEGOTIATE] = FAULT_S_NEGOTIATED,
	[MIG_PREPARE] = FAULT_S_PREPARED,     [MIG_ROUNDS] = FAULT_S_ROUNDS,
	[MIG_FREEZE] = FAULT_S_HELD_RECORDED, [MIG_SEND] = FAULT_S_SENT,
	[MIG_RESTORE] = FAULT_S_RESTORED,     [MIG_COMMIT] = FAULT_S_RUNNING,
	[MIG_POSTCOPY] = FAULT_S_KILLED,
};

static void run_step(struct mig *m)
{
	int r = m->load ? loads[m->state].run(m, &m->err) : steps[m->state].run(m, &m->err);

	if (r == 0)
		fault_at(passed[m->state]);
	if (r < 0 && m->err.src == ERR_NONE)
		err_set(&m->err, ERR_BUG, -r, "step %s", m->at->name);
	enum mig_state next = r < 0                    ? after_failure(m)
	                      : m->state == MIG_RELINK ? m->back_to
	                                               : steps[m->state].next;

	if (!run_may(m->state, next))
		next = refused(m, next);
	if (next == MIG_UNDO) {
		m->fig.t.end_us = now_us();
		say_late(m);
		say_ended(m);
		undo_from(m, m->state == MIG_RELINK ? MIG_RESTORE : m->state);
	} else {
		enter(m, next);
	}
}

static int finish(struct mig *m)
{
	if (m->fig.t.end_us == 0)
		m->fig.t.end_us = now_us();
	if (m->pages.send)
		send_cancel(m->pages.send);
	postcopy_end_threads(m);
	save_figures(m);
	if (m->load)
		m->fig.archive.state = load_number(m->load);
	if (m->state == MIG_DONE && !m->save && !m->load) {
		needs_tidy(m->needs);
		costs_keep(m);
	}
	if (mig_well(m))
		err_clear(&m->err);
	record_end(m, m->state != MIG_LOST || m->load); /* the archive is as it was */
	return mig_well(m) ? 0 : -m->err.code;
}

int run_migration(struct mig *m, const struct opts *opt)
{
	m->opt = opt;
	m->fig.t.start_us = now_us();
	enter(m, MIG_CONNECT);
	while (steps[m->state].run)
		run_step(m);
	return finish(m);
}

int run_recovered(struct mig *m)
{
	m->fig.t.start_us = now_us();
	m->halt.committed = m->dump.done = true;
	err_set(&m->err, ERR_LINK, ECONNRESET, "the haul that moved it was killed");
	enter(m, MIG_RELINK);
	while (steps[m->state].run)
		run_step(m);
	return finish(m);
}

bool run_stop(struct mig *m)
{
	pthread_mutex_lock(&m->halt.lock);
	bool can = !m->halt.committed && save_stop(m->save);

	m->halt.leave = !can;
	if (can && !m->halt.stop) {
		m->halt.stop = true;
		if (m->pages.send)
			send_cancel(m->pages.send);
		if (m->dump.criu)
			criu_cancel(m->dump.criu);
		if (m->link.ctl)
			chan_cancel(m->link.ctl);
		if (m->load)
			load_stop(m->load);
		dirs_cancel(m->dirs);
	}
	pthread_mutex_unlock(&m->halt.lock);
	return can;
}

void run_fini(struct mig *m)
{
	/* the signal thread may still read it */
	pthread_mutex_lock(&m->halt.lock);
	struct send *s = steal(m->pages.send);
	struct criu *c = steal(m->dump.criu);
	struct chan *ctl = steal(m->link.ctl);
	struct dirs *fs = steal(m->dirs);
	struct save *save = steal(m->save);

	pthread_mutex_unlock(&m->halt.lock);
	send_free(s);
	criu_free(c);
	sink_free(steal(m->dump.sink));
	scans_free(steal(m->dump.scans));
	smaps_free(steal(m->dump.smaps));
	present_free(steal(m->dump.present));
	images_free(steal(m->dump.images));
	threads_free(steal(m->dump.threads));
	sockets_free(steal(m->dump.sockets));
	answer_criu_forget(m);
	free(steal(m->loaded.dest));
	free(steal(m->loaded.identity));
	free(steal(m->loaded.known_hosts));
	free(steal(m->loaded.unit));
	slow_free(steal(m->precopy.slow));
	tracker_free(steal(m->precopy.trk));
	sent_free(steal(m->pages.sent));
	needs_free(steal(m->needs));
	opened_free(steal(m->opened));
	inspect_free(steal(m->insp));
	mnet_free(steal(m->net));
	dirs_free(fs);
	size_t n_maps = m->dump.maps ? m->dump.n_maps : 0;

	for (size_t i = 0; i < n_maps; i++)
		class_runs_fini(&m->dump.maps[i]);
	free(steal(m->dump.maps));
	for (size_t i = 0; i < m->rest.n_left; i++)
		class_runs_fini(&m->rest.left[i].runs);
	free(steal(m->rest.left));
	signals_free(steal(m->copy.signals));
	frost_free(steal(m->copy.frost));
	capture_free(steal(m->capture));
	free(steal(m->copy.home));
	direct_rings_free(steal(m->copy.rings));
	ttys_free(steal(m->copy.ttys));
	warm_stop(&m->copy.warm_locks);
	locks_free(steal(m->copy.locks));
	starter_forget(m);
	if (m->unit.lock >= 0)
		close(steal_fd(&m->unit.lock));
	for (size_t i = 0; i < m->copy.n_held; i++)
		close(m->copy.held[i].pidfd);
	free(steal(m->copy.held));
	memfd_close_all(m);
	for (unsigned int i = 0; i < STREAMS_LIMIT; i++)
		chan_free(steal(m->link.data[i]));
	chan_free(steal(m->link.urgent));
	chan_free(steal(m->link.files));
	chan_free(ctl);
	save_free(save);
	load_free(steal(m->load));
	if (m->dump.images_fd >= 0)
		close(m->dump.images_fd);
}
