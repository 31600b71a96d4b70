// SPDX-License-Identifier: GPL-2.0-or-later
/* worker.c - one migration at the destination. The only file that changes a worker's state. */
#include "agent/worker/worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "agent/dirs/dirs.h"
#include "agent/files/bring.h"
#include "common/local/door.h"
#include "agent/worker/finish.h"
#include "agent/worker/hello.h"
#include "agent/worker/images.h"
#include "agent/gate/names.h"
#include "agent/gate/made.h"
#include "agent/worker/net.h"
#include "agent/worker/offer.h"
#include "agent/gate/out.h"
#include "agent/worker/proof.h"
#include "agent/worker/restore.h"
#include "agent/worker/resume.h"
#include "agent/worker/streams.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/proc.h"
#include "common/host/nofile.h"
#include "common/host/scarce.h"
#include "transport/msg/haul.pb-c.h"

#define HANDSHAKE_MS        10000
#define IDLE_LIMIT_MS       120000
#define ANSWER_LIMIT_MS     3000
#define FREEZE_LIMIT_MS_MAX 600000

struct row {
	struct wrk_facts facts;
	int expects; /* the message that moves it on */
	enum fault passed; /* the point behind it */
	int (*take)(struct wrk *w, const Haul__Msg *msg, struct err *e);
};

static int take_start(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_switch(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_commit(struct wrk *w, const Haul__Msg *msg, struct err *e);

/* GATE -> RUNNING is the point of no return: what fails before it is undone, after it lost. */
static const struct row rows[] = {
	/* clang-format off */
[WRK_HELLO]   = { { WRK_HELLO,   "hello",   WRK_OFFER,   WRK_UNDONE, WRK_HELLO,   false }, HAUL__MSG__BODY_HELLO,       FAULT_D_HELLO,    hello_take },
[WRK_OFFER]   = { { WRK_OFFER,   "offer",   WRK_START,   WRK_UNDONE, WRK_OFFER,   false }, HAUL__MSG__BODY_OFFER,       FAULT_D_ANSWERED, offer_take },
[WRK_START]   = { { WRK_START,   "start",   WRK_ROUNDS,  WRK_UNDONE, WRK_START,   false }, HAUL__MSG__BODY_START,       FAULT_D_STARTED,  take_start },
[WRK_ROUNDS]  = { { WRK_ROUNDS,  "rounds",  WRK_GATE,    WRK_UNDONE, WRK_ROUNDS,  false }, HAUL__MSG__BODY_SWITCH_OVER, FAULT_D_RESTORED, take_switch },
[WRK_GATE]    = { { WRK_GATE,    "gate",    WRK_RUNNING, WRK_UNDONE, WRK_GATE,    false }, HAUL__MSG__BODY_COMMIT,      FAULT_D_RUNNING,  take_commit },
[WRK_RUNNING] = { { WRK_RUNNING, "running", WRK_DONE,    WRK_LOST,   WRK_ENDED,   true },  0,                           FAULT_NONE,       NULL },
[WRK_DONE]    = { { WRK_DONE,    "done",    WRK_DONE,    WRK_DONE,   WRK_DONE,    true },  HAUL__MSG__BODY_BYE,         FAULT_NONE,       NULL },
[WRK_UNDONE]  = { { WRK_UNDONE,  "undone",  WRK_UNDONE,  WRK_UNDONE, WRK_UNDONE,  false }, 0,                           FAULT_NONE,       NULL },
[WRK_LOST]    = { { WRK_LOST,    "lost",    WRK_LOST,    WRK_LOST,   WRK_LOST,    false }, 0,                           FAULT_NONE,       NULL },
[WRK_ENDED]   = { { WRK_ENDED,   "ended",   WRK_ENDED,   WRK_ENDED,  WRK_ENDED,   false }, 0,                           FAULT_NONE,       NULL },
	/* clang-format on */
};
_Static_assert(ARRAY_SIZE(rows) == WRK_NSTATES, "a state has no row");

#define IN(state) (1U << (state))
#define BEFORE_COMMIT                                                                              \
	(IN(WRK_HELLO) | IN(WRK_OFFER) | IN(WRK_START) | IN(WRK_ROUNDS) | IN(WRK_GATE))

static int take_ping(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_pong(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_file_part(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_berth(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_images(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_parked(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_abort(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_bye(struct wrk *w, const Haul__Msg *msg, struct err *e);

/* Messages that leave the state as it is, or end it: allowed in these states at any time. */
static const struct {
	int kind;
	unsigned int states;
	int (*take)(struct wrk *w, const Haul__Msg *msg, struct err *e);
} always[] = {
	{ HAUL__MSG__BODY_PING, BEFORE_COMMIT, take_ping },
	{ HAUL__MSG__BODY_PONG, BEFORE_COMMIT, take_pong },
	{ HAUL__MSG__BODY_FILE_PART, IN(WRK_ROUNDS), take_file_part },
	{ HAUL__MSG__BODY_BERTH, IN(WRK_ROUNDS), take_berth },
	{ HAUL__MSG__BODY_IMAGES, IN(WRK_ROUNDS), take_images },
	{ HAUL__MSG__BODY_PARKED, IN(WRK_GATE), take_parked },
	{ HAUL__MSG__BODY_ABORT, BEFORE_COMMIT, take_abort },
	{ HAUL__MSG__BODY_BYE, BEFORE_COMMIT, take_bye },
};

const char *worker_state_name(enum wrk_state s)
{
	return (unsigned int)s < WRK_NSTATES ? rows[s].facts.name : "?";
}

bool worker_may(enum wrk_state from, enum wrk_state to)
{
	const struct wrk_facts *f = &rows[from].facts;

	return from != to && (to == f->next || to == f->fails || to == f->ends);
}

bool worker_may_run(enum wrk_state s)
{
	return rows[s].facts.runs;
}

bool worker_takes(enum wrk_state s, int kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (always[i].kind == kind && (always[i].states & IN(s)))
			return true;
	return kind && rows[s].expects == kind;
}

/* Without asking the table: at the end of undo() and lose_tree(), and where a successor begins. */
static void enter(struct wrk *w, enum wrk_state to)
{
	log_info("state=%s next=%s", wrk_at(w)->name, rows[to].facts.name);
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->at, &rows[to].facts, __ATOMIC_RELEASE); /* read with no lock, too */
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

/* -EINVAL: the table has no such edge, and the state stays; the caller undoes or loses the tree */
static int go_to(struct wrk *w, enum wrk_state to, struct err *e)
{
	const struct wrk_facts *from = wrk_at(w);

	if (!worker_may(from->state, to))
		return err_set(e, ERR_BUG, EINVAL, "no edge from state %s to %s", from->name,
		               rows[to].facts.name);
	enter(w, to);
	return 0;
}

/* ---- messages that may come at any time ---- */

static int take_ping(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	pthread_mutex_lock(&w->ctl_lock);
	int r = wire_pong(w->ctl, msg->ping, deadline_in_ms(HANDSHAKE_MS), e);

	pthread_mutex_unlock(&w->ctl_lock);
	return r;
}

static int take_pong(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	(void)w;
	(void)msg;
	(void)e;
	return 0;
}

static int take_file_part(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	return bring_part(w, msg->file_part, e);
}

static int take_berth(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Berthed berthed = HAUL__BERTHED__INIT;
	size_t n;
	const struct criu_inherit *places = out_list(w->outs, &n);
	int r = berth_part(w, msg->berth, places, n, e);

	return r < 0 || !msg->berth->last || msg->berth->into[0]
	               ? r
	               : wrk_say(w, HAUL__MSG__BODY_BERTHED, &berthed, e);
}

static int take_images(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	return images_take(w, msg->images, e);
}

static int take_parked(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	return net_in_parked(w, msg->parked, e);
}

/* A source that ends it has not committed, and never will. */
static int take_abort(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	w->nobody_asks = true;
	return err_set(e, ERR_STOPPED, ECANCELED, "the source aborts: %s", msg->abort->reason);
}

static int take_bye(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	(void)msg;
	w->nobody_asks = true;
	return err_set(e, ERR_STOPPED, ECANCELED, "the source ends it");
}

/* ---- messages that move it on ---- */

static int make_images(struct wrk *w, struct err *e)
{
	return img_dir(&w->images_fd, e);
}

static int make_store(struct wrk *w, struct err *e)
{
	return store_new(&w->store, e);
}

static int stage_directories(struct wrk *w, struct err *e)
{
	return dirs_in_stage(w->fs, &w->settle, e);
}

static int start_criu(struct wrk *w, struct err *e)
{
	size_t n;
	const struct criu_inherit *places = out_list(w->outs, &n);
	int r = berth_spawn(w, NULL, places, n, e);

	return r < 0 ? r
	             : criu_version(w->criu, &w->own_criu.version,
	                            deadline_in_ms(WRK_CRIU_LIMIT_MS), e);
}

/* Made before the source stops anything; the error names the part that failed. */
static const struct {
	const char *name;
	int (*run)(struct wrk *w, struct err *e);
} start_parts[] = {
	{ "berth", berth_start },         { "images", make_images },
	{ "page store", make_store },     { "directories", stage_directories },
	{ "replaced files", out_open },   { "CRIU", start_criu },
	{ "connections", streams_start },
};

static int take_start(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Started started = HAUL__STARTED__INIT;
	const Haul__Start *s = msg->start;

	if (w->offer.refused)
		return err_set(e, ERR_PEER, EPROTO, "the offer was refused");
	if (s->streams == 0 || s->streams > AGENT_DATA_MAX)
		return err_set(e, ERR_PEER, EPROTO, "%u streams wanted, at most %d", s->streams,
		               AGENT_DATA_MAX);
	w->streams.n_data = s->streams;
	log_info("streams=%u freeze=%s", s->streams, s->freeze);
	w->limit_ms = s->freeze_limit_ms && s->freeze_limit_ms < FREEZE_LIMIT_MS_MAX
	                      ? s->freeze_limit_ms
	                      : FREEZE_LIMIT_MS_MAX;
	/* now, so that the freeze needs no fork and no large memory */
	pager_warm(w->guard, w->offer.rss_bytes);
	for (size_t i = 0; i < ARRAY_SIZE(start_parts); i++)
		if (start_parts[i].run(w, e) < 0)
			return err_wrap(e, "%s", start_parts[i].name);
	return wrk_say(w, HAUL__MSG__BODY_STARTED, &started, e);
}

/* The tree is at the gate. From here on the journal can tell how it ended. */
static int record_gate(struct wrk *w, struct err *e)
{
	char secret[SECRET_TEXT_BYTES];
	int r = journal_new(&w->journal, JOURNAL_DIR, JOURNAL_DEST, w->route, e);

	if (r < 0)
		return r;
	secret_print(w->secret, secret);
	return journal_add(w->journal, e, "gate", "secret=%s root=%d start=%llu", secret,
	                   w->root_pid, (unsigned long long)procs_start(w->root_pid));
}

static int take_switch(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	const Haul__Switch *s = msg->switch_over;
	Haul__Restored m = HAUL__RESTORED__INIT;
	uint64_t t0 = now_us();

	fault_at(FAULT_D_SWITCH);
	if (bring_place(w, e) < 0 || proof_still(w, s, e) < 0)
		return err_wrap(e, "files");
	if (out_unread_keep(w, s, e) < 0)
		return err_code(e);
	if (net_in_arrive(w, s, e) < 0)
		return err_wrap(e, "network");
	int r = restore_to_gate(w, s, e);

	if (r < 0)
		return r;
	fault_at(FAULT_D_GATE);
	r = record_gate(w, e);
	if (r < 0)
		return r;
	fault_at(FAULT_D_GATE_RECORDED);
	m.pid = (uint32_t)pidspace_inner(w->root_pid);
	m.host_pid = w->keep->own_pids ? (uint32_t)w->root_pid : 0;
	m.restore_us = now_us() - t0;
	m.images_us = w->fig.images_us;
	return wrk_say(w, HAUL__MSG__BODY_RESTORED, &m, e);
}

/*
 * CRIU was told to let the tree run, and died or hangs instead of saying that it had: some of its
 * tasks may be stuck for ever, others may have run. Kill them all, and say so; the copy at the
 * source is kept for the operator.
 */
static int lose_tree(struct wrk *w, const struct err *why)
{
	struct err ignore = ERR_INIT, lost = *why;

	lost.code = EOWNERDEAD; /* the source: no copy is left here */

	log_err("the tree is lost: %s", why->msg);
	restore_kill(w);
	made_end(w); /* also a task whose parent was gone */
	net_in_undo(w);
	berth_undo(w);
	if (journal_add(w->journal, &ignore, "lost", "%s", "") < 0)
		log_err("%s", ignore.msg);
	enter(w, WRK_LOST);
	wrk_say_abort(w, &lost, false);
	return -ECONNRESET;
}

/*
 * The point of no return. The promise "never two copies" rests on this order; docs/HANDOVER.md.
 * An error before restore_open() is undone, a later one is not.
 */
static int take_commit(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Running m = HAUL__RUNNING__INIT;

	(void)msg;
	fault_at(FAULT_D_COMMIT_HEARD);
	/* first: what is on record must not die with us (successor_main() reads it) */
	w->keep->journal_fd = journal_fd(w->journal);
	guard_keep(w->guard, w->keep->journal_fd);
	guard_arm(w->guard);
	/* on record before the tree runs: no undo from here */
	if (journal_add(w->journal, e, "commit", "%s", "") < 0)
		return -e->code;
	bring_keep(w);
	fault_at(FAULT_D_COMMIT_RECORDED);
	if (berth_gate(w, e) < 0)
		return err_code(e);
	out_unread(w);
	/* a CRIU that was dead by then has not let it run, and no other process will */
	if (restore_open(w, e) < 0)
		return -e->code;
	if (go_to(w, WRK_RUNNING, e) < 0)
		return lose_tree(w, e);
	dirs_in_keep(w->fs);
	uint64_t t0 = now_us();
	int r = restore_resume(w, e);

	if (r == -ECONNRESET || r == -ETIMEDOUT)
		return lose_tree(w, e);
	if (r < 0)
		log_err("after the commit: %s", e->msg);
	berth_runs(w);
	fault_at(FAULT_D_RESUMED);
	m.resume_us = now_us() - t0;
	m.left_remote_pages = w->fig.left_remote_pages;
	return wrk_say(w, HAUL__MSG__BODY_RUNNING, &m, e);
}

/* ---- the loop ---- */

static int take(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	const struct wrk_facts *at = wrk_at(w);
	const struct row *row = &rows[at->state];
	int kind = (int)msg->body_case;

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (always[i].kind == kind && (always[i].states & IN(at->state)))
			return always[i].take(w, msg, e);
	if (kind != row->expects || !row->take)
		return err_set(e, ERR_PEER, EPROTO, "message %d in state %s", kind, at->name);
	int r = row->take(w, msg, e);

	if (r < 0)
		return r;
	fault_at(row->passed);
	/* unless the function has done that itself */
	return wrk_at(w) == at ? go_to(w, at->next, e) : 0;
}

/* A source that has come back to ask for the outcome gets its answer before we end. */
static void let_resume_end(struct wrk *w)
{
	uint64_t deadline = deadline_in_ms(ANSWER_LIMIT_MS);

	pthread_mutex_lock(&w->lock);
	while (w->resuming && wrk_wait(w, deadline) == 0)
		;
	pthread_mutex_unlock(&w->lock);
}

static void undo(struct wrk *w, struct err *why)
{
	Haul__Undone u = HAUL__UNDONE__INIT;
	struct err ignore = ERR_INIT;
	bool told = wrk_has_failed(w, why);

	if (why->src != ERR_STOPPED)
		log_err("%s", why->msg);
	if (why->src != ERR_STOPPED && !told)
		wrk_say_abort(w, why, false);
	fault_at(FAULT_D_UNDO);
	restore_give_up(w);
	net_in_undo(w);
	bring_end(w);
	out_undo(w->outs);
	berth_undo(w);
	if (w->journal && journal_add(w->journal, &ignore, "undone", "%s", "") < 0)
		log_err("%s", ignore.msg);
	fault_at(FAULT_D_UNDONE);
	enter(w, WRK_UNDONE);
	let_resume_end(w);
	streams_stop(w);
	wrk_say(w, HAUL__MSG__BODY_UNDONE, &u, &ignore);
}

static uint64_t wait_limit(const struct wrk *w)
{
	switch (wrk_at(w)->state) {
	case WRK_START:
		return deadline_in_ms(IDLE_LIMIT_MS);
	case WRK_ROUNDS: /* the source decides how long; a dead one ends by TCP keep-alive */
		return DEADLINE_NEVER;
	case WRK_GATE:
		return deadline_in_ms(w->limit_ms);
	default:
		return deadline_in_ms(HANDSHAKE_MS);
	}
}

static void end_well(struct wrk *w)
{
	struct err e = ERR_INIT;
	bool filled = finish_fill(w);

	if (go_to(w, filled ? wrk_at(w)->next : wrk_at(w)->ends, &e) < 0) {
		log_err("%s", e.msg); /* the outcome is on record: the journal answers */
		return;
	}
	if (filled)
		finish_bye(w);
	let_resume_end(w);
}

/* One message. After the commit no error of it matters any more. */
static int step(struct wrk *w, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = wire_recv(w->ctl, &msg, wait_limit(w), e);

	if (r < 0)
		return r;
	r = take(w, msg, e);
	haul__msg__free_unpacked(msg, NULL);
	return wrk_committed(w) ? 0 : r;
}

static int run(struct wrk *w, struct err *e)
{
	while (!wrk_committed(w)) {
		int r = step(w, e);

		if (r < 0)
			return r;
	}
	err_clear(e);
	if (wrk_at(w)->runs)
		end_well(w);
	else
		let_resume_end(w);
	return 0;
}

static void fini(struct wrk *w)
{
	door_remove(w->route);
	streams_stop(w);
	close(w->streams.door);
	criu_free(w->criu);
	net_in_free(w->net);
	out_free(w->outs);
	berth_free(w);
	dirs_in_fini(w, wrk_committed(w));
	pager_free(w->pager);
	guard_over(w->guard);
	store_free(w->store);
	if (w->images_fd >= 0)
		close(w->images_fd);
	chan_free(w->ctl);
	journal_close(w->journal, w->nobody_asks);
	free(w->offer.pids.v);
	bring_end(w);
	bring_free(w->bring);
	settle_fini(&w->settle);
	names_free(w);
	free(w->into_root);
	free(w->offer.doubts.v);
	rights_fini(&w->rights);
}

int worker_continue(struct wrk *w)
{
	struct err e = ERR_INIT;

	enter(w, WRK_RUNNING);
	w->deliver = true;
	if (streams_start(w, &e) < 0)
		log_err("the source cannot come back: %s; the pages that are here are put in place",
		        e.msg);
	end_well(w);
	fini(w);
	return 0;
}

static void init(struct wrk *w, const struct agent_conf *conf, const struct chan_server *server,
                 struct guard *g, uint64_t route)
{
	pthread_condattr_t a;

	w->conf = conf;
	w->server = server;
	w->route = route;
	w->at = &rows[WRK_HELLO].facts;
	w->images_fd = w->streams.stop_fd = -1;
	w->streams.resume = resume_run;
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->ctl_lock, NULL);
	pthread_mutex_init(&w->streams.urgent_lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &a);
	w->guard = g;
	w->keep = guard_user(g);
	w->keep->criu_rpc = w->keep->place_fd = w->keep->berth_fd = w->keep->relay_rpc = -1;
}

int worker_main(const struct worker_start *start, int ctl_fd, uint64_t route)
{
	AUTO(mem) struct wrk *w = calloc(1, sizeof(*w));
	struct guard_ops ops = { .succeed = start->succeed, .arg = w, .undone = start->undone };
	struct err e = ERR_INIT;

	if (!w)
		return 1;
	init(w, start->conf, start->server, start->guard, route);
	signal(SIGPIPE, SIG_IGN);
	nofile_raise(); /* for each process its memory and a userfaultfd */
	log_migration(route);
	w->streams.door = door_open(route, &e);
	if (w->streams.door < 0) {
		log_err("%s", e.msg);
		chan_refuse(ctl_fd, preamble_reason(e.code));
		return 1;
	}
	guard_keep(w->guard, w->streams.door);
	/* before there are threads: chan_accept() starts one */
	if (guard_start(w->guard, &ops, &e) < 0 || scarce_now(&e) < 0)
		chan_refuse(steal_fd(&ctl_fd), preamble_reason(e.code));
	if (ctl_fd < 0 || chan_accept(&w->ctl, ctl_fd, w->server, HANDSHAKE_MS, &e) < 0) {
		log_warn("refused: %s", e.msg);
		guard_over(w->guard);
		door_remove(route);
		return 1;
	}
	chan_go_first(w->ctl);
	int r = run(w, &e);

	if (r < 0)
		undo(w, &e);
	fini(w);
	return r < 0;
}
