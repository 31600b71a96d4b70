// SPDX-License-Identifier: GPL-2.0-or-later
/* talk.c - the source's half of the conversation in docs/PROTOCOL.md section 4. */
#include "hauler/mig/mig.h"

#include <ctype.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "config.h"
#include "transport/msg/haul.pb-c.h"

#define HELLO_LIMIT_MS  10000
#define ANSWER_LIMIT_MS 30000
#define UNIT_LIMIT_MS   180000 /* systemd reads all units again, and starts one */
#define ABORT_LIMIT_MS  5000

static int from_abort(const Haul__Abort *a, struct err *e)
{
	printable(a->reason);
	printable(a->remedy);
	enum err_src src = a->source && !strcmp(a->source, "criu") ? ERR_CRIU : ERR_PEER;
	int r = err_set(e, src, a->code ? (int)a->code : EIO, "destination: %s",
	                a->reason[0] ? a->reason : "aborted");

	if (a->remedy[0])
		err_fix(e, "%s", a->remedy);
	return r;
}

/* ---- which message may come when ---- */

typedef int (*take_fn)(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e);

static int take_ping(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)m;
	return wire_pong(ch, msg->ping, deadline_in_ms(HELLO_LIMIT_MS), e);
}

static int take_abort(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)m;
	(void)ch;
	return from_abort(msg->abort, e);
}

static int take_doubt(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)ch;
	return m->link.prove ? m->link.prove(m, msg->doubt, e)
	                     : err_set(e, ERR_PEER, EPROTO, "DOUBT without an OFFER");
}

/* The push of the remaining pages ends with a mark that no step waits for. */
static int take_marked(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)ch;
	return m->rest.push_running
	               ? 0
	               : err_set(e, ERR_PEER, EPROTO, "unexpected mark %u", msg->marked->mark);
}

/* After a lost link the destination says again that the tree runs. */
static int take_running(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)m;
	(void)ch;
	(void)msg;
	(void)e;
	return 0;
}

static int take_progress(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	(void)ch;
	(void)e;
	m->fig.peer_left_pages = msg->progress->left_pages;
	m->fig.peer_faults = msg->progress->faults;
	return 0;
}

/* The peer's words: only letters, digits and spaces of them go to a terminal. */
static void take_ended(struct mig *m, const char *how)
{
	snprintf(m->fig.ended, sizeof(m->fig.ended), "%s", how);
	for (char *c = m->fig.ended; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = ' ';
}

static int take_drained(struct mig *m, struct chan *ch, const Haul__Msg *msg, struct err *e)
{
	const Haul__Drained *d = msg->drained;

	(void)ch;
	(void)e;
	m->rest.drained = true;
	m->fig.faults = d->faults;
	m->fig.faults_remote = d->faults_remote;
	m->fig.fault_p50_us = d->fault_p50_us;
	m->fig.fault_p99_us = d->fault_p99_us;
	m->fig.fault_max_us = d->fault_max_us;
	m->fig.degraded_us = d->degraded_us;
	m->fig.fault_wait_us = d->fault_wait_us;
	for (size_t i = 0; i < ARRAY_SIZE(m->fig.fault_n); i++)
		m->fig.fault_n[i] = i < d->n_fault_n ? d->fault_n[i] : 0;
	m->fig.store_peak_bytes = d->store_peak_bytes;
	take_ended(m, d->ended);
	return 0;
}

/* tests/t-handover-tables.sh compares this with the table in docs/PROTOCOL.md, section 4. */
static const struct rule {
	int kind;
	const char *name;
	enum mig_state from, to; /* the states in which it may come, both included */
	bool after_commit; /* only a tree that runs at the destination may cause it */
	take_fn take; /* called when no step waits for the message; NULL: then it is an error */
} rules[] = {
	/* clang-format off */
{ HAUL__MSG__BODY_HELLO,    "HELLO",    MIG_NEW,     MIG_RELINK,    false, NULL },
{ HAUL__MSG__BODY_DOUBT,    "DOUBT",    MIG_NEW,     MIG_NEGOTIATE, false, take_doubt },
{ HAUL__MSG__BODY_ANSWER,   "ANSWER",   MIG_NEW,     MIG_NEGOTIATE, false, NULL },
{ HAUL__MSG__BODY_STARTED,  "STARTED",  MIG_PREPARE, MIG_PREPARE,   false, NULL },
{ HAUL__MSG__BODY_PONG,     "PONG",     MIG_PREPARE, MIG_PREPARE,   false, NULL },
{ HAUL__MSG__BODY_BERTHED,  "BERTHED",  MIG_ROUNDS,  MIG_ROUNDS,    false, NULL },
{ HAUL__MSG__BODY_APPLIED,  "APPLIED",  MIG_PREPARE, MIG_RESTORE,   false, NULL },
{ HAUL__MSG__BODY_MARKED,   "MARKED",   MIG_ROUNDS,  MIG_RELINK,    false, take_marked },
{ HAUL__MSG__BODY_PLACED,   "PLACED",   MIG_RESTORE, MIG_RESTORE,   false, NULL },
{ HAUL__MSG__BODY_RESTORED, "RESTORED", MIG_RESTORE, MIG_RESTORE,   false, NULL },
{ HAUL__MSG__BODY_RUNNING,  "RUNNING",  MIG_COMMIT,  MIG_RELINK,    true,  take_running },
{ HAUL__MSG__BODY_PROGRESS, "PROGRESS", MIG_COMMIT,  MIG_RELINK,    true,  take_progress },
{ HAUL__MSG__BODY_DRAINED,  "DRAINED",  MIG_COMMIT,  MIG_RELINK,    true,  take_drained },
{ HAUL__MSG__BODY_OUTCOME,  "OUTCOME",  MIG_RELINK,  MIG_RELINK,    true,  NULL },
{ HAUL__MSG__BODY_MISSING,  "MISSING",  MIG_RELINK,  MIG_RELINK,    true,  NULL },
{ HAUL__MSG__BODY_UNDONE,   "UNDONE",   MIG_CONNECT, MIG_UNDO,      false, NULL },
{ HAUL__MSG__BODY_PING,     "PING",     MIG_NEW,     MIG_LOST,      false, take_ping },
{ HAUL__MSG__BODY_ABORT,    "ABORT",    MIG_NEW,     MIG_LOST,      false, take_abort },
	/* clang-format on */
};

bool talk_rule(size_t i, struct talk_rule *out)
{
	if (i >= ARRAY_SIZE(rules))
		return false;
	*out = (struct talk_rule){ rules[i].name, rules[i].from, rules[i].to };
	return true;
}

static const struct rule *rule_for(const struct mig *m, int kind)
{
	enum mig_state now = __atomic_load_n(&m->state, __ATOMIC_RELAXED); /* see enter() */

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].kind == kind)
			return now >= rules[i].from && now <= rules[i].to &&
			                       (m->halt.committed || !rules[i].after_commit)
			               ? &rules[i]
			               : NULL;
	return NULL;
}

int talk_next(struct mig *m, struct chan *ch, int want, Haul__Msg **out, uint64_t deadline_us,
              struct err *e)
{
	/* the conversation ends: ignore messages that were still on their way */
	bool ending = want == HAUL__MSG__BODY_UNDONE || want == HAUL__MSG__BODY_ABORT;
	Haul__Msg *msg = NULL;
	int r = wire_recv(ch, &msg, deadline_us, e);

	if (r < 0)
		return r;
	int kind = (int)msg->body_case;
	const struct rule *rule = rule_for(m, kind);

	if (rule && kind == want) {
		*out = msg;
		return 1;
	}
	if (ending && kind != HAUL__MSG__BODY_PING)
		log_debug("message %d before the end", kind);
	else if (rule && rule->take)
		r = rule->take(m, ch, msg, e);
	else
		r = err_set(e, ERR_PEER, EPROTO, "unexpected message %d in state %s", kind,
		            m->at->name);
	haul__msg__free_unpacked(msg, NULL);
	return r;
}

int talk_expect(struct mig *m, struct chan *ch, int want, Haul__Msg **out, uint64_t deadline_us,
                struct err *e)
{
	int r;

	do {
		r = talk_next(m, ch, want, out, deadline_us, e);
	} while (r == 0);
	return r < 0 ? r : 0;
}

/* Wait for an answer of which only the arrival matters. */
static int expect_only(struct mig *m, int want, uint64_t deadline_us, struct err *e)
{
	Haul__Msg *answer = NULL;
	int r = talk_expect(m, m->link.ctl, want, &answer, deadline_us, e);

	if (r)
		return r;
	haul__msg__free_unpacked(answer, NULL);
	return 0;
}

int talk_say(struct mig *m, int kind, const void *body, struct err *e)
{
	return wire_say(m->link.ctl, kind, body, deadline_in_ms(HELLO_LIMIT_MS), e);
}

/* ---- connections ---- */

static void note_peer(struct peer *p, const Haul__Hello *a)
{
	if (!p)
		return;
	snprintf(p->program, sizeof(p->program), "%s", a->program);
	snprintf(p->kernel, sizeof(p->kernel), "%s", a->kernel);
	printable(p->program);
	printable(p->kernel);
	p->criu_version = a->criu_version;
	p->mem_free_bytes = a->mem_free_bytes;
	p->reached = true;
}

/* What the destination says of itself in its HELLO. */
static int take_hello(struct mig *m, Haul__Role role, unsigned int compat, const Haul__Hello *a,
                      struct err *e)
{
	if (a->compat > PROTOCOL_VERSION || a->version < compat) {
		err_set(e, ERR_PEER, EPROTONOSUPPORT,
		        "the destination speaks protocol %u (%u at least), we speak %u", a->version,
		        a->compat, PROTOCOL_VERSION);
		return err_fix(e, "install the same haul on both hosts");
	}
	if (role == HAUL__ROLE__ROLE_RESUME && strcmp(m->link.peer_boot, a->boot))
		/* not EOWNERDEAD: that no copy is left there is not certain */
		return err_set(e, ERR_PEER, EHOSTDOWN,
		               "%s has rebooted (then no copy is left there), or is another host",
		               m->opt->dest);
	if (role != HAUL__ROLE__ROLE_CONTROL)
		return 0;
	if (a->secret.len != sizeof(m->link.secret))
		return err_set(e, ERR_PEER, EPROTO, "the destination gave no secret");
	memcpy(m->link.secret, a->secret.data, sizeof(m->link.secret));
	m->link.route = a->route;
	snprintf(m->link.peer_boot, sizeof(m->link.peer_boot), "%s", a->boot);
	note_peer(m->peer, a);
	return 0;
}

/* HELLO and its answer on one connection. */
static int hello(struct mig *m, struct chan *ch, Haul__Role role, unsigned int index, struct err *e)
{
	Haul__Msg *answer = NULL;
	Haul__Hello h = HAUL__HELLO__INIT;
	struct utsname u;
	char program[] = PACKAGE_STRING;
	unsigned int compat = role == HAUL__ROLE__ROLE_CONTROL ? PROTOCOL_COMPAT
	                                                       : PROTOCOL_COMPAT_RESUME;

	uname(&u);
	h.version = PROTOCOL_VERSION;
	h.compat = compat;
	h.program = program;
	h.host = u.nodename;
	h.role = role;
	h.index = index;
	h.probe = m->peer != NULL;
	h.streams = role == HAUL__ROLE__ROLE_RESUME ? m->opt->pol.v.streams : 0;
	if (role != HAUL__ROLE__ROLE_CONTROL) {
		h.secret.data = m->link.secret;
		h.secret.len = sizeof(m->link.secret);
	}
	uint64_t deadline = deadline_in_ms(HELLO_LIMIT_MS);

	if (wire_say(ch, HAUL__MSG__BODY_HELLO, &h, deadline, e) < 0 ||
	    talk_expect(m, ch, HAUL__MSG__BODY_HELLO, &answer, deadline, e) < 0)
		return err_wrap(e, "hello");
	int r = take_hello(m, role, compat, answer->hello, e);

	haul__msg__free_unpacked(answer, NULL);
	return r;
}

static struct chan_target target(const struct mig *m, uint64_t route)
{
	return (struct chan_target){
		.host = m->opt->dest,
		.port = (uint16_t)m->opt->port,
		.identity = m->opt->identity,
		.known_hosts = m->opt->known_hosts,
		.route = route,
		.connect_ms = m->opt->connect_limit_ms,
		.dial = m->link.dial,
		.dial_arg = m->link.dial_arg,
	};
}

int talk_connect(struct mig *m, struct err *e)
{
	struct chan_target to = target(m, 0);
	struct chan *ch = NULL;
	int r = chan_connect(&ch, &to, e);

	if (r < 0)
		return err_wrap(e, "connect to %s port %u", m->opt->dest, m->opt->port);
	chan_go_first(ch);
	pthread_mutex_lock(&m->halt.lock);
	m->link.ctl = ch;
	pthread_mutex_unlock(&m->halt.lock);
	r = mig_unless_stopped(m, e);
	if (r)
		return r;
	r = hello(m, ch, HAUL__ROLE__ROLE_CONTROL, 0, e);
	if (r)
		return r;
	m->id = m->link.route;
	if (!m->peer)
		log_migration(m->id);
	return 0;
}

static int one_stream(struct mig *m, struct chan **out, Haul__Role role, unsigned int index,
                      struct err *e)
{
	struct chan_target to = target(m, m->link.route);

	if (chan_connect(out, &to, e) < 0 || hello(m, *out, role, index, e) < 0)
		return err_wrap(e, "stream %u", index);
	return 0;
}

int talk_streams(struct mig *m, struct err *e)
{
	int r = one_stream(m, &m->link.urgent, HAUL__ROLE__ROLE_URGENT, 0, e);

	if (r)
		return r;
	chan_go_first(m->link.urgent);
	for (unsigned int i = 0; r == 0 && i < m->opt->pol.v.streams; i++)
		r = one_stream(m, &m->link.data[i], HAUL__ROLE__ROLE_DATA, i, e);
	return r;
}

int talk_files(struct mig *m, struct chan **out, struct err *e)
{
	return one_stream(m, out, HAUL__ROLE__ROLE_FILES, 0, e);
}

int talk_resume(struct mig *m, struct err *e)
{
	struct chan *ch = NULL;
	int r = one_stream(m, &ch, HAUL__ROLE__ROLE_RESUME, 0, e);

	if (ch)
		chan_go_first(ch);
	pthread_mutex_lock(&m->halt.lock);
	m->link.ctl = ch;
	pthread_mutex_unlock(&m->halt.lock);
	return r;
}

/* ---- messages ---- */

/* Say @body, and wait for @answer, which has no fields. */
static int say_expect(struct mig *m, Haul__Msg__BodyCase body, void *fields,
                      Haul__Msg__BodyCase answer, unsigned int limit_ms, struct err *e)
{
	int r = talk_say(m, body, fields, e);

	return r ? r : expect_only(m, answer, deadline_in_ms(limit_ms), e);
}

int talk_start(struct mig *m, struct err *e)
{
	Haul__Start s = HAUL__START__INIT;

	s.mode = (Haul__Mode)m->opt->pol.v.mode;
	s.streams = m->opt->pol.v.streams;
	s.freeze_limit_ms = m->opt->pol.v.freeze_limit_ms;
	s.freeze = (char *)freeze_mode(m);
	int r = say_expect(m, HAUL__MSG__BODY_START, &s, HAUL__MSG__BODY_STARTED,
	                   m->opt->unit ? UNIT_LIMIT_MS : ANSWER_LIMIT_MS, e);

	return r < 0 ? err_wrap(e, "start") : 0;
}

int talk_marked(struct mig *m, uint32_t mark, uint64_t deadline_us, struct err *e)
{
	for (;;) {
		Haul__Msg *msg = NULL;
		int r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_MARKED, &msg, deadline_us, e);

		if (r < 0)
			return r;
		uint32_t got = msg->marked->mark;

		haul__msg__free_unpacked(msg, NULL);
		if (got == mark)
			return 0;
		if (got > mark)
			return err_set(e, ERR_PEER, EPROTO, "mark %u before it was sent", got);
	}
}

int talk_ping(struct mig *m, struct err *e)
{
	for (int i = 0; i < 3; i++) {
		Haul__Ping p = HAUL__PING__INIT;
		uint64_t t0 = now_us();

		p.cookie = t0;
		int r = say_expect(m, HAUL__MSG__BODY_PING, &p, HAUL__MSG__BODY_PONG,
		                   HELLO_LIMIT_MS, e);

		if (r < 0)
			return err_wrap(e, "ping");
		uint64_t rtt = now_us() - t0;

		if (i == 0 || rtt < m->fig.t.rtt_us)
			m->fig.t.rtt_us = rtt;
	}
	return 0;
}

int talk_placed(struct mig *m, struct err *e)
{
	return expect_only(m, HAUL__MSG__BODY_PLACED, mig_deadline(m), e);
}

int talk_restored(struct mig *m, struct err *e)
{
	Haul__Msg *answer = NULL;
	int r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_RESTORED, &answer, mig_deadline(m), e);

	if (r < 0)
		return r;
	m->fig.t.dest_restore_us = answer->restored->restore_us;
	m->fig.t.dest_images_us = answer->restored->images_us;
	m->fig.host_pid = answer->restored->host_pid;
	haul__msg__free_unpacked(answer, NULL);
	return 0;
}

void talk_reason(struct mig *m, struct err *e)
{
	struct err better = ERR_INIT;
	Haul__Msg *msg = NULL;

	if (!m->link.ctl || (e->src != ERR_LINK && e->src != ERR_SYS))
		return;
	/* anything but an ABORT that is still in the pipe is skipped */
	while (talk_expect(m, m->link.ctl, HAUL__MSG__BODY_ABORT, &msg, deadline_in_ms(500),
	                   &better) == 0) {
		struct err said = ERR_INIT;

		from_abort(msg->abort, &said);
		haul__msg__free_unpacked(msg, NULL);
		*e = said;
		return;
	}
}

void talk_abort(struct mig *m, const struct err *why)
{
	Haul__Abort a = HAUL__ABORT__INIT;
	struct err ignore = ERR_INIT;

	if (m->link.aborted)
		return;
	m->link.aborted = true;
	a.code = (uint32_t)why->code;
	a.source = (char *)err_src_name(why->src);
	a.reason = (char *)why->msg;
	a.remedy = (char *)why->fix;
	if (talk_say(m, HAUL__MSG__BODY_ABORT, &a, &ignore) < 0)
		return;
	if (expect_only(m, HAUL__MSG__BODY_UNDONE, deadline_in_ms(ABORT_LIMIT_MS), &ignore) < 0)
		log_warn("the destination did not confirm that it cleaned up: %s", ignore.msg);
}
