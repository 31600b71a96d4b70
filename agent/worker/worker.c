// SPDX-License-Identifier: GPL-2.0-or-later
/* worker.c - one migration at the destination. The only file that writes w->state. */
#include "agent/mig/mig.h"
#include "agent/files/bring.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/nofile.h"
#include "config.h"
#include "transport/haul.pb-c.h"

#define HANDSHAKE_MS        10000
#define SEND_LIMIT_MS       10000
#define IDLE_LIMIT_MS       120000
#define ANSWER_LIMIT_MS     3000
#define FREEZE_LIMIT_MS_MAX 600000

struct row {
	const char *name;
	int expects; /* the message that moves it on */
	enum wrk_state next, fails;
	bool runs; /* the tree may run here */
	enum fault passed; /* the point behind it */
	int (*take)(struct wrk *w, const Haul__Msg *msg, struct err *e);
};

static int take_hello(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_start(struct wrk *w, const Haul__Msg *msg, struct err *e);
/* The tree stands at the gate. From here on the journal can tell how it ended. */
static int record_gate(struct wrk *w, struct err *e)
{
	char secret[2 * WRK_SECRET_BYTES + 1];
	int r = journal_new(&w->journal, JOURNAL_DIR, JOURNAL_DEST, w->route, e);

	if (r < 0)
		return r;
	wrk_secret_print(w->secret, secret);
	return journal_add(w->journal, e, "gate", "secret=%s root=%d start=%llu", secret,
	                   w->root_pid, (unsigned long long)procs_start(w->root_pid));
}

static int take_switch(struct wrk *w, const Haul__Msg *msg, struct err *e);
static int take_commit(struct wrk *w, const Haul__Msg *msg, struct err *e);

/* GATE -> RUNNING is the point of no return: what fails before it is undone, after it lost. */
static const struct row rows[] = {
	/* clang-format off */
[WRK_HELLO]   = { "hello",   HAUL__MSG__BODY_HELLO,       WRK_OFFER,   WRK_UNDONE, false, FAULT_D_HELLO,    take_hello },
[WRK_OFFER]   = { "offer",   HAUL__MSG__BODY_OFFER,       WRK_START,   WRK_UNDONE, false, FAULT_D_ANSWERED, offer_take },
[WRK_START]   = { "start",   HAUL__MSG__BODY_START,       WRK_ROUNDS,  WRK_UNDONE, false, FAULT_D_STARTED,  take_start },
[WRK_ROUNDS]  = { "rounds",  HAUL__MSG__BODY_SWITCH_OVER, WRK_GATE,    WRK_UNDONE, false, FAULT_D_RESTORED, take_switch },
[WRK_GATE]    = { "gate",    HAUL__MSG__BODY_COMMIT,      WRK_RUNNING, WRK_UNDONE, false, FAULT_D_RUNNING,  take_commit },
[WRK_RUNNING] = { "running", HAUL__MSG__BODY_BYE,         WRK_DONE,    WRK_LOST,   true,  FAULT_NONE,       NULL },
[WRK_DONE]    = { "done",    0,                           WRK_DONE,    WRK_DONE,   true,  FAULT_NONE,       NULL },
[WRK_UNDONE]  = { "undone",  0,                           WRK_UNDONE,  WRK_UNDONE, false, FAULT_NONE,       NULL },
[WRK_LOST]    = { "lost",    0,                           WRK_LOST,    WRK_LOST,   false, FAULT_NONE,       NULL },
	/* clang-format on */
};
_Static_assert(ARRAY_SIZE(rows) == WRK_NSTATES, "a state has no row");

const char *wrk_state_name(enum wrk_state s)
{
	return (unsigned int)s < WRK_NSTATES ? rows[s].name : "?";
}

bool wrk_may(enum wrk_state from, enum wrk_state to)
{
	return from != to && (to == rows[from].next || to == rows[from].fails);
}

static void go_to(struct wrk *w, enum wrk_state to)
{
	if (!wrk_may(w->state, to))
		log_err("no edge %s -> %s", rows[w->state].name, rows[to].name);
	log_info("state=%s next=%s", rows[w->state].name, rows[to].name);
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->state, to, __ATOMIC_RELEASE); /* read with no lock, too */
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

bool wrk_committed(const struct wrk *w)
{
	return rows[__atomic_load_n(&w->state, __ATOMIC_ACQUIRE)].fails != WRK_UNDONE;
}

bool wrk_may_run(enum wrk_state s)
{
	return rows[s].runs;
}

int wrk_wait(struct wrk *w, uint64_t deadline_us)
{
	struct timespec t = { .tv_sec = (time_t)(deadline_us / 1000000),
		              .tv_nsec = (long)(deadline_us % 1000000) * 1000 };

	return pthread_cond_timedwait(&w->changed, &w->lock, &t);
}

int wrk_say(struct wrk *w, Haul__Msg *msg, struct err *e)
{
	pthread_mutex_lock(&w->ctl_lock);
	int r = w->ctl ? wire_send(w->ctl, msg, deadline_in_ms(SEND_LIMIT_MS), e)
	               : err_set(e, ERR_LINK, ENOTCONN, "the source has not come back");

	pthread_mutex_unlock(&w->ctl_lock);
	return r;
}

/* @end: and before the commit no more is said */
static void say_abort(struct wrk *w, const struct err *why, bool end)
{
	pthread_mutex_lock(&w->ctl_lock);
	if (w->ctl)
		agt_refuse(w->ctl, why);
	if (w->ctl && end && !wrk_committed(w))
		chan_cancel(w->ctl);
	pthread_mutex_unlock(&w->ctl_lock);
}

void wrk_fail(struct wrk *w, const struct err *why)
{
	pthread_mutex_lock(&w->lock);
	bool first = !w->failed;

	w->failed = true;
	if (first)
		w->err = *why;
	pthread_mutex_unlock(&w->lock);
	log_err("%s", why->msg);
	if (!first)
		return;
	/* after the commit the tree stays: its threads wait for what is missing */
	say_abort(w, why, true);
}

/* Has a thread said why it failed? Then that is the reason, in @why. */
static bool has_failed(struct wrk *w, struct err *why)
{
	pthread_mutex_lock(&w->lock);
	bool failed = w->failed;

	if (failed)
		*why = w->err;
	pthread_mutex_unlock(&w->lock);
	return failed;
}

/* ---- messages ---- */

/* Return: 0 when none works */
static unsigned int criu_here(const struct wrk *w)
{
	AUTO(criu) struct criu *c = NULL;
	struct err e = ERR_INIT;
	unsigned int version = 0;

	if (criu_spawn(&c, w->conf->criu_path, -1, &e) < 0 ||
	    criu_version(c, &version, deadline_in_ms(HANDSHAKE_MS / 2), &e) < 0)
		log_warn("CRIU %s: %s", w->conf->criu_path, e.msg);
	return version;
}

static int take_hello(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Hello h = HAUL__HELLO__INIT;
	const Haul__Hello *in = msg->hello;
	struct utsname u;
	char program[] = PACKAGE_STRING, boot[JOURNAL_BOOT_BYTES];

	if (in->compat > PROTOCOL_VERSION || in->version < PROTOCOL_COMPAT) {
		err_set(e, ERR_PEER, EPROTONOSUPPORT,
		        "the source speaks protocol %u (%u at least), we speak %u", in->version,
		        in->compat, PROTOCOL_VERSION);
		return err_fix(e, "install the same haul on both hosts");
	}
	if (in->role != HAUL__ROLE__ROLE_CONTROL)
		return err_set(e, ERR_PEER, EPROTO, "a stream of no migration");
	if (getrandom(w->secret, sizeof(w->secret), 0) != sizeof(w->secret))
		return err_sys(e, "getrandom");
	memcpy(w->keep->secret, w->secret, sizeof(w->secret));
	log_info("source=%s program=\"%s\" key=\"%s\"", in->host, in->program, chan_peer(w->ctl));
	uname(&u);
	if (in->probe) {
		h.kernel = u.release;
		h.mem_free_bytes = check_mem_free_bytes();
		h.criu_version = criu_here(w);
	}
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT;
	h.program = program;
	h.host = u.nodename;
	h.route = w->route;
	journal_boot_id(boot);
	h.boot = boot;
	h.secret.data = w->secret;
	h.secret.len = sizeof(w->secret);
	out.body_case = HAUL__MSG__BODY_HELLO;
	out.hello = &h;
	return wrk_say(w, &out, e);
}

static int take_start(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Started started = HAUL__STARTED__INIT;
	const Haul__Start *s = msg->start;

	if (w->refused)
		return err_set(e, ERR_PEER, EPROTO, "the offer was refused");
	if (s->streams == 0 || s->streams > AGT_DATA_MAX)
		return err_set(e, ERR_PEER, EPROTO, "%u streams wanted, at most %d", s->streams,
		               AGT_DATA_MAX);
	w->n_data = s->streams;
	log_info("streams=%u freeze=%s", s->streams, s->freeze);
	w->limit_ms = s->freeze_limit_ms && s->freeze_limit_ms < FREEZE_LIMIT_MS_MAX
	                      ? s->freeze_limit_ms
	                      : FREEZE_LIMIT_MS_MAX;
	int r = img_dir(&w->images_fd, e);

	if (r == 0)
		r = store_new(&w->store, e);
	if (r == 0)
		r = dirs_in_stage(w->fs, &w->settle, e);
	if (r == 0)
		r = out_open(w, e);
	size_t n;
	const struct criu_inherit *places = out_list(w->outs, &n);

	/* ready before anything stops: no fork in the freeze, and no large memory */
	pager_warm(w->guard, w->rss_bytes);
	if (r == 0)
		r = criu_spawn_with(&w->criu, w->conf->criu_path, places, n, e);
	if (r == 0)
		r = criu_version(w->criu, &w->criu_version, deadline_in_ms(WRK_CRIU_LIMIT_MS), e);
	if (r == 0)
		r = rcv_start(w, e);
	if (r < 0)
		return r;
	out.body_case = HAUL__MSG__BODY_STARTED;
	out.started = &started;
	return wrk_say(w, &out, e);
}

static int take_switch(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Restored m = HAUL__RESTORED__INIT;
	uint64_t t0 = now_us();
	fault_at(FAULT_D_SWITCH);
	int r = bring_place(w, e);

	if (r == 0)
		r = proof_still(w, msg->switch_over, e);

	if (r == 0)
		r = anet_arrive(w, msg->switch_over, e);

	if (r == 0)
		r = rst_run(w, msg->switch_over, e);

	if (r == 0)
		fault_at(FAULT_D_GATE);
	if (r == 0)
		r = record_gate(w, e);
	if (r < 0)
		return r;
	fault_at(FAULT_D_GATE_RECORDED);
	m.pid = (uint32_t)w->root_pid;
	m.restore_us = now_us() - t0;
	m.images_us = w->images_us;
	out.body_case = HAUL__MSG__BODY_RESTORED;
	out.restored = &m;
	return wrk_say(w, &out, e);
}

/*
 * CRIU was told to let the tree run, and died or hangs instead of saying that it had: some
 * of its tasks may be stuck for ever. What they did, if anything, nobody knows: end them, and
 * say so; the copy at the source is kept for the operator.
 */
static int lose_tree(struct wrk *w, const struct err *why)
{
	struct err ignore = ERR_INIT;

	log_err("the tree is lost: %s", why->msg);
	rst_kill(w);
	anet_undo(w);
	if (journal_add(w->journal, &ignore, "lost", "%s", "") < 0)
		log_err("%s", ignore.msg);
	go_to(w, WRK_LOST);
	say_abort(w, why, false);
	return -ECONNRESET;
}

static int take_commit(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Running m = HAUL__RUNNING__INIT;
	uint64_t t0 = now_us();

	(void)msg;
	int r = rst_resume(w, e);

	if (r == -ECONNRESET || r == -ETIMEDOUT)
		return lose_tree(w, e);
	if (r < 0)
		log_err("after the commit: %s", e->msg);
	fault_at(FAULT_D_RESUMED);
	m.resume_us = now_us() - t0;
	m.left_remote_pages = w->left_remote_pages;
	out.body_case = HAUL__MSG__BODY_RUNNING;
	out.running = &m;
	return wrk_say(w, &out, e);
}

/* ---- the loop ---- */

static int pong(struct wrk *w, const Haul__Ping *ping, struct err *e)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Pong p = HAUL__PONG__INIT;

	p.cookie = ping->cookie;
	out.body_case = HAUL__MSG__BODY_PONG;
	out.pong = &p;
	return wrk_say(w, &out, e);
}

static int take(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	const struct row *row = &rows[w->state];
	int kind = (int)msg->body_case;

	if (kind == HAUL__MSG__BODY_PING)
		return pong(w, msg->ping, e);
	if (kind == HAUL__MSG__BODY_PONG)
		return 0;
	if (kind == HAUL__MSG__BODY_FILE_PART && w->state == WRK_ROUNDS)
		return bring_part(w, msg->file_part, e);
	if (kind == HAUL__MSG__BODY_PARKED)
		return anet_parked(w, msg->parked, e);
	if (kind == HAUL__MSG__BODY_IMAGES && w->state == WRK_ROUNDS)
		return rst_images(w, msg->images, e);
	/* a source that ends it has not committed, and never will */
	w->nobody_asks = kind == HAUL__MSG__BODY_ABORT || kind == HAUL__MSG__BODY_BYE;
	if (kind == HAUL__MSG__BODY_ABORT)
		return err_set(e, ERR_STOPPED, ECANCELED, "the source aborts: %s",
		               msg->abort->reason);
	if (kind == HAUL__MSG__BODY_BYE)
		return err_set(e, ERR_STOPPED, ECANCELED, "the source ends it");
	if (kind != row->expects)
		return err_set(e, ERR_PEER, EPROTO, "message %d in state %s", kind, row->name);
	if (row->next == WRK_RUNNING) {
		fault_at(FAULT_D_COMMIT_HEARD);
		/* first: what is on record must not die with us (suc_main() reads it) */
		w->keep->journal_fd = journal_fd(w->journal);
		guard_keep(w->guard, w->keep->journal_fd);
		guard_arm(w->guard);
		/* on record before the tree runs: no undo from here */
		if (journal_add(w->journal, e, "commit", "%s", "") < 0)
			return -e->code;
		bring_keep(w);
		fault_at(FAULT_D_COMMIT_RECORDED);
		/* a CRIU that was dead by then has not let it run, and nobody else will */
		if (rst_open(w, e) < 0)
			return -e->code;
		go_to(w, WRK_RUNNING);
		dirs_in_keep(w->fs);
	}
	int r = row->take(w, msg, e);

	if (r == 0)
		fault_at(row->passed);
	if (r == 0 && row->next != WRK_RUNNING)
		go_to(w, row->next);
	return r;
}

/* Somebody has come back to ask how it ended: he hears it before we go. */
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
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Undone u = HAUL__UNDONE__INIT;
	struct err ignore = ERR_INIT;

	bool told = has_failed(w, why);

	if (why->src != ERR_STOPPED)
		log_err("%s", why->msg);
	if (why->src != ERR_STOPPED && !told)
		say_abort(w, why, false);
	fault_at(FAULT_D_UNDO);
	rst_undo(w);
	anet_undo(w);
	bring_end(w);
	out_undo(w->outs);
	if (w->journal && journal_add(w->journal, &ignore, "undone", "%s", "") < 0)
		log_err("%s", ignore.msg);
	fault_at(FAULT_D_UNDONE);
	go_to(w, WRK_UNDONE);
	let_resume_end(w);
	rcv_stop(w);
	out.body_case = HAUL__MSG__BODY_UNDONE;
	out.undone = &u;
	wrk_say(w, &out, &ignore);
}

static uint64_t wait_limit(const struct wrk *w)
{
	static const uint64_t limit_ms[WRK_NSTATES] = {
		[WRK_HELLO] = HANDSHAKE_MS,
		[WRK_OFFER] = HANDSHAKE_MS,
		[WRK_START] = IDLE_LIMIT_MS,
	};

	/* rounds: the source decides how long; a dead one ends by TCP keep-alive */
	if (w->state == WRK_ROUNDS)
		return DEADLINE_NEVER;
	if (w->state == WRK_GATE)
		return deadline_in_ms(w->limit_ms);
	return deadline_in_ms(limit_ms[w->state] ? limit_ms[w->state] : HANDSHAKE_MS);
}

static void end_well(struct wrk *w)
{
	lst_fill(w);
	go_to(w, WRK_DONE);
	lst_bye(w);
	let_resume_end(w);
}

static int run(struct wrk *w, struct err *e)
{
	while (!wrk_committed(w)) {
		Haul__Msg *msg = NULL;
		int r = wire_recv(w->ctl, &msg, wait_limit(w), e);

		if (r == 0)
			r = take(w, msg, e);
		if (msg)
			haul__msg__free_unpacked(msg, NULL);
		if (r < 0 && !wrk_committed(w))
			return r;
	}
	err_clear(e);
	if (w->state == WRK_LOST)
		let_resume_end(w);
	else
		end_well(w);
	return 0;
}

static void fini(struct wrk *w)
{
	door_remove(w->route);
	rcv_stop(w);
	close(w->door);
	criu_free(w->criu);
	anet_free(w->net);
	out_free(w->outs);
	dirs_in_fini(w, wrk_committed(w));
	pager_free(w->pager);
	guard_over(w->guard);
	store_free(w->store);
	if (w->images_fd >= 0)
		close(w->images_fd);
	chan_free(w->ctl);
	journal_close(w->journal, w->nobody_asks);
	free(w->pids);
	bring_end(w);
	bring_free(w->bring);
	settle_fini(&w->settle);
	free(w->into_root);
	free(w->doubts);
}

int wrk_go_on(struct wrk *w)
{
	struct err e = ERR_INIT;

	w->state = WRK_RUNNING; /* where a successor begins: no edge leads there */
	w->deliver = true;
	if (rcv_start(w, &e) < 0)
		log_err("the source cannot come back: %s; what is here is put in place", e.msg);
	end_well(w);
	fini(w);
	return 0;
}

int wrk_main(const struct agt_conf *conf, const struct chan_server *server, struct guard *g,
             int ctl_fd, uint64_t route)
{
	AUTO(mem) struct wrk *w = calloc(1, sizeof(*w));
	pthread_condattr_t a;
	struct err e = ERR_INIT;

	if (!w)
		return 1;
	w->conf = conf;
	w->server = server;
	w->route = route;
	w->images_fd = w->stop_fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->ctl_lock, NULL);
	pthread_mutex_init(&w->urgent_lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &a);
	signal(SIGPIPE, SIG_IGN);
	nofile_raise(); /* for each process its memory and a userfaultfd */
	log_migration(route);
	w->door = door_open(route, &e);
	if (w->door < 0) {
		log_err("%s", e.msg);
		return 1;
	}
	guard_keep(g, w->door);
	w->guard = g;
	w->keep = guard_user(g);
	w->keep->criu_rpc = w->keep->place_fd = -1;
	/* before there are threads: chan_accept() starts one */
	int r = guard_start(
	        g, &(struct guard_ops){ .succeed = suc_main, .arg = w, .undone = suc_undone }, &e);

	if (r == 0)
		r = chan_accept(&w->ctl, ctl_fd, server, HANDSHAKE_MS, &e);
	if (r < 0) {
		log_warn("refused: %s", e.msg);
		guard_over(g);
		door_remove(route);
		return 1;
	}
	chan_go_first(w->ctl);
	__atomic_store_n(&w->keep->known, true, __ATOMIC_RELEASE);
	r = run(w, &e);
	if (r < 0)
		undo(w, &e);
	fini(w);
	return r < 0;
}
