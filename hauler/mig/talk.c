// SPDX-License-Identifier: GPL-2.0-or-later
/* talk.c - the source's half of the conversation in docs/PROTOCOL.md section 4. */
#include "hauler/mig/mig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clock.h"
#include "common/log.h"
#include "config.h"
#include "transport/haul.pb-c.h"

#define HELLO_LIMIT_MS  10000
#define ANSWER_LIMIT_MS 30000
#define FINDINGS_MAX    4096u

static int send_msg(struct mig *m, Haul__Msg *msg, struct err *e)
{
	return wire_send(m->link.ctl, msg, deadline_in_ms(HELLO_LIMIT_MS), e);
}

static int from_abort(Haul__Abort *a, struct err *e)
{
	err_line(a->reason);
	err_line(a->remedy);
	enum err_src src = a->source && !strcmp(a->source, "criu") ? ERR_CRIU : ERR_PEER;
	int r = err_set(e, src, a->code ? (int)a->code : EIO, "destination: %s",
	                a->reason[0] ? a->reason : "aborted");

	if (a->remedy[0])
		err_fix(e, "%s", a->remedy);
	return r;
}

static int pong(struct chan *ch, const Haul__Ping *ping, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Pong body = HAUL__PONG__INIT;

	body.cookie = ping->cookie;
	msg.body_case = HAUL__MSG__BODY_PONG;
	msg.pong = &body;
	return wire_send(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);
}

void talk_drained(struct mig *m, const Haul__Drained *d)
{
	m->rest.drained = true;
	m->fig.faults = d->faults;
	m->fig.faults_remote = d->faults_remote;
	m->fig.fault_p50_us = d->fault_p50_us;
	m->fig.fault_p99_us = d->fault_p99_us;
	m->fig.fault_max_us = d->fault_max_us;
	for (size_t i = 0; i < ARRAY_SIZE(m->fig.fault_n); i++)
		m->fig.fault_n[i] = i < d->n_fault_n ? d->fault_n[i] : 0;
	m->fig.store_peak_bytes = d->store_peak_bytes;
}

int talk_expect(struct mig *m, struct chan *ch, int want, Haul__Msg **out, uint64_t deadline_us,
                struct err *e)
{
	for (;;) {
		Haul__Msg *msg = NULL;
		int r = wire_recv(ch, &msg, deadline_us, e);

		if (r < 0)
			return r;
		int kind = (int)msg->body_case;

		/* only a tree that runs there may say so */
		bool early = !m->halt.committed &&
		             (kind == HAUL__MSG__BODY_DRAINED || kind == HAUL__MSG__BODY_RUNNING ||
		              kind == HAUL__MSG__BODY_PROGRESS);

		if (kind == HAUL__MSG__BODY_DRAINED && !early)
			talk_drained(m, msg->drained);
		if (kind == want && !early) {
			*out = msg;
			return 0;
		}
		if (kind == HAUL__MSG__BODY_PING)
			r = pong(ch, msg->ping, e);
		else if (want == HAUL__MSG__BODY_UNDONE || want == HAUL__MSG__BODY_ABORT)
			log_debug("message %d before the end", kind); /* was on its way */
		else if (kind == HAUL__MSG__BODY_ABORT)
			r = from_abort(msg->abort, e);
		else if (kind == HAUL__MSG__BODY_DOUBT && m->state <= MIG_NEGOTIATE)
			r = needs_prove(m, msg->doubt, e);
		else if (kind == HAUL__MSG__BODY_MARKED && m->rest.push_running)
			log_debug("the rest was pushed before the tree runs");
		else if (!early &&
		         (kind == HAUL__MSG__BODY_DRAINED || kind == HAUL__MSG__BODY_RUNNING))
			log_debug("message %d while the link is made again", kind);
		else if (kind == HAUL__MSG__BODY_PROGRESS && !early) {
			m->fig.peer_left_pages = msg->progress->left_pages;
			m->fig.peer_faults = msg->progress->faults;
			rep_progress(m, false);
		} else
			r = err_set(e, ERR_PEER, EPROTO, "unexpected message %d in state %s", kind,
			            mig_state_name(m->state));
		haul__msg__free_unpacked(msg, NULL);
		if (r < 0)
			return r;
	}
}

static void note_peer(struct peer *p, const Haul__Hello *a)
{
	if (!p)
		return;
	snprintf(p->program, sizeof(p->program), "%s", a->program);
	snprintf(p->kernel, sizeof(p->kernel), "%s", a->kernel);
	err_line(p->program);
	err_line(p->kernel);
	p->criu_version = a->criu_version;
	p->mem_free_bytes = a->mem_free_bytes;
	p->reached = true;
}

/* HELLO and its answer on one connection. */
static int hello(struct mig *m, struct chan *ch, Haul__Role role, unsigned int index, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT, *answer = NULL;
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
	msg.body_case = HAUL__MSG__BODY_HELLO;
	msg.hello = &h;
	uint64_t deadline = deadline_in_ms(HELLO_LIMIT_MS);
	int r = wire_send(ch, &msg, deadline, e);

	if (r == 0)
		r = talk_expect(m, ch, HAUL__MSG__BODY_HELLO, &answer, deadline, e);
	if (r < 0)
		return err_wrap(e, "hello");
	Haul__Hello *a = answer->hello;

	if (a->compat > PROTOCOL_VERSION || a->version < compat) {
		r = err_set(e, ERR_PEER, EPROTONOSUPPORT,
		            "the destination speaks protocol %u (%u at least), we speak %u",
		            a->version, a->compat, PROTOCOL_VERSION);
		err_fix(e, "install the same haul on both hosts");
	} else if (role == HAUL__ROLE__ROLE_CONTROL && a->secret.len != sizeof(m->link.secret)) {
		r = err_set(e, ERR_PEER, EPROTO, "the destination gave no secret");
	} else if (role == HAUL__ROLE__ROLE_CONTROL) {
		memcpy(m->link.secret, a->secret.data, sizeof(m->link.secret));
		m->link.route = a->route;
		snprintf(m->link.peer_boot, sizeof(m->link.peer_boot), "%s", a->boot);
		note_peer(m->peer, a);
	} else if (role == HAUL__ROLE__ROLE_RESUME && strcmp(m->link.peer_boot, a->boot)) {
		r = err_set(
		        e, ERR_PEER, EOWNERDEAD,
		        "%s was rebooted since (then no copy is left there), or is another host",
		        m->opt->dest);
	}
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
	if (m->halt.stop)
		r = err_set(e, ERR_STOPPED, ECANCELED, "stopped");
	pthread_mutex_unlock(&m->halt.lock);
	if (r == 0)
		r = hello(m, ch, HAUL__ROLE__ROLE_CONTROL, 0, e);
	if (r == 0) {
		m->id = m->link.route;
		if (!m->peer)
			log_migration(m->id);
	}
	return r;
}

static int one_stream(struct mig *m, struct chan **out, Haul__Role role, unsigned int index,
                      struct err *e)
{
	struct chan_target to = target(m, m->link.route);
	int r = chan_connect(out, &to, e);

	if (r == 0)
		r = hello(m, *out, role, index, e);
	return r < 0 ? err_wrap(e, "stream %u", index) : 0;
}

int talk_streams(struct mig *m, struct err *e)
{
	int r = one_stream(m, &m->link.urgent, HAUL__ROLE__ROLE_URGENT, 0, e);

	if (r == 0)
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

static int take_answer(const Haul__Answer *a, struct findings *out, struct err *e)
{
	if (a->n_finding > FINDINGS_MAX)
		return err_set(e, ERR_PEER, EBADMSG, "the destination has %zu findings",
		               a->n_finding);
	for (size_t i = 0; i < a->n_finding; i++) {
		const Haul__Finding *f = a->finding[i];
		/* a newer destination may have more degrees: better to stop */
		enum severity severity = (unsigned int)f->severity <= SEV_BLOCKER
		                                 ? (enum severity)f->severity
		                                 : SEV_BLOCKER;

		err_line(f->code);
		err_line(f->text);
		err_line(f->remedy);
		if (finding_add(out, severity, f->code, f->remedy, "%s", f->text) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	}
	return 0;
}

/* CPU features of this host, for the destination to compare. */
static void load_cpuinfo(struct mig *m, int dir, uint8_t **data, size_t *bytes)
{
	struct err ignore = ERR_INIT;

	if (criu_cpuinfo(m->dump.criu_path, dir, false, deadline_in_ms(5000), &ignore) < 0 ||
	    img_load(dir, "cpuinfo.img", 65536, data, bytes, &ignore) < 0)
		log_warn("no CPU information from CRIU: %s", ignore.msg);
}

static void fill_criu(struct mig *m, Haul__Criu *c, uint8_t **cpu)
{
	AUTO(fd) int dir = -1;
	struct err ignore = ERR_INIT;
	size_t n = 0;

	c->path = m->dump.criu_path;
	c->version = m->dump.criu_version;
	if (img_dir(&dir, &ignore) == 0)
		load_cpuinfo(m, dir, cpu, &n);
	c->cpuinfo.data = *cpu;
	c->cpuinfo.len = *cpu ? n : 0;
}

int talk_offer(struct mig *m, bool check_only, struct findings *out, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT, *answer = NULL;
	Haul__Offer offer = HAUL__OFFER__INIT;
	Haul__Criu criu = HAUL__CRIU__INIT;
	AUTO(mem) uint8_t *cpu = NULL;
	int r = inspect_offer(m->insp, &offer, e);

	if (r == 0 && !m->needs)
		r = needs_new(&m->needs, m->insp, m->opt, out, e);
	if (r == 0)
		r = mnet_offer(m, &offer, e);
	if (r == 0)
		r = outs_offer(inspect_outs(m->insp), &offer, e);
	if (r == 0)
		r = dirs_offer(m, &offer, out, e);
	if (r < 0) {
		outs_offer_fini(&offer);
		dirs_offer_free(&offer);
		return r;
	}
	needs_offer(m->needs, &offer);
	offer.files = (Haul__Files)m->opt->pol.v.files;
	fill_criu(m, &criu, &cpu);
	offer.criu = &criu;
	offer.check_only = check_only;
	m->fig.rss_bytes = offer.rss_bytes;
	m->fig.tasks = inspect_tasks(m->insp);
	snprintf(m->fig.comm, sizeof(m->fig.comm), "%s", offer.comm);
	msg.body_case = HAUL__MSG__BODY_OFFER;
	msg.offer = &offer;
	r = send_msg(m, &msg, e);
	outs_offer_fini(&offer);
	dirs_offer_free(&offer);
	if (r == 0)
		r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_ANSWER, &answer,
		                deadline_in_ms(ANSWER_LIMIT_MS), e);
	if (r < 0)
		return err_wrap(e, "negotiation");
	r = take_answer(answer->answer, out, e);
	needs_seen(m->needs, answer->answer);
	if (r == 0 && !answer->answer->accepted && out->blockers == 0)
		r = err_set(e, ERR_PEER, EPROTO, "refused without a reason");
	haul__msg__free_unpacked(answer, NULL);
	return r;
}

int talk_start(struct mig *m, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT, *answer = NULL;
	Haul__Start s = HAUL__START__INIT;

	s.mode = (Haul__Mode)m->opt->pol.v.mode;
	s.streams = m->opt->pol.v.streams;
	s.freeze_limit_ms = m->opt->pol.v.freeze_limit_ms;
	s.freeze = (char *)ours_mode(m);
	msg.body_case = HAUL__MSG__BODY_START;
	msg.start = &s;
	int r = send_msg(m, &msg, e);

	if (r == 0)
		r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_STARTED, &answer,
		                deadline_in_ms(ANSWER_LIMIT_MS), e);
	if (r < 0)
		return err_wrap(e, "start");
	haul__msg__free_unpacked(answer, NULL);
	return 0;
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
		Haul__Msg msg = HAUL__MSG__INIT, *answer = NULL;
		Haul__Ping p = HAUL__PING__INIT;
		uint64_t t0 = now_us();

		p.cookie = t0;
		msg.body_case = HAUL__MSG__BODY_PING;
		msg.ping = &p;
		int r = send_msg(m, &msg, e);

		if (r == 0)
			r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_PONG, &answer,
			                deadline_in_ms(HELLO_LIMIT_MS), e);
		if (r < 0)
			return err_wrap(e, "ping");
		haul__msg__free_unpacked(answer, NULL);
		uint64_t rtt = now_us() - t0;

		if (i == 0 || rtt < m->fig.t.rtt_us)
			m->fig.t.rtt_us = rtt;
	}
	return 0;
}

static int pack_objects(struct mig *m, Haul__Object **ptr, Haul__Object *v,
                        const struct sink_obj *objs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		haul__object__init(&v[i]);
		v[i].obj = objs[i].obj;
		ptr[i] = &v[i];
		if (class_runs_pack(&m->dump.maps[i], &v[i].runs.data, &v[i].runs.len) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	}
	return 0;
}

static int send_switch(struct mig *m, Haul__Switch *s, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	size_t n;
	const struct sink_obj *objs = sink_objs(m->dump.sink, &n);
	AUTO(mem) Haul__Object *v = calloc(n + 1, sizeof(*v));
	AUTO(mem) Haul__Object **ptr = calloc(n + 1, sizeof(Haul__Object *));
	int r = v && ptr ? pack_objects(m, ptr, v, objs, n, e)
	                 : err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");

	if (r == 0) {
		s->n_object = n;
		s->object = ptr;
		msg.body_case = HAUL__MSG__BODY_SWITCH_OVER;
		msg.switch_over = s;
		r = wire_send(m->link.ctl, &msg, mig_deadline(m), e);
	}
	for (size_t i = 0; v && i < n; i++)
		free(v[i].runs.data);
	return r;
}

int talk_switch(struct mig *m, struct err *e)
{
	Haul__Switch s = HAUL__SWITCH__INIT;
	uint64_t now = now_us(), until = mig_deadline(m);

	s.shell_job = inspect_shell_job(m->insp);
	s.ext_unix = inspect_ext_unix(m->insp);
	s.file_locks = true;
	s.tasks = m->fig.tasks;
	s.limit_ms = until > now ? (until - now) / 1000 : 1;
	int r = mnet_switch(m, &s, e);

	if (r == 0)
		r = needs_still(m->needs, &s, e);
	if (r == 0)
		r = send_switch(m, &s, e);
	needs_still_free(&s);
	return r;
}

int talk_placed(struct mig *m, struct err *e)
{
	Haul__Msg *answer = NULL;
	int r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_PLACED, &answer, mig_deadline(m), e);

	if (r == 0)
		haul__msg__free_unpacked(answer, NULL);
	return r;
}

int talk_restored(struct mig *m, struct err *e)
{
	Haul__Msg *answer = NULL;
	int r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_RESTORED, &answer, mig_deadline(m), e);

	if (r < 0)
		return r;
	m->fig.t.dest_restore_us = answer->restored->restore_us;
	m->fig.t.dest_images_us = answer->restored->images_us;
	haul__msg__free_unpacked(answer, NULL);
	return 0;
}

int talk_simple(struct mig *m, int kind, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Commit commit = HAUL__COMMIT__INIT;
	Haul__Bye bye = HAUL__BYE__INIT;

	msg.body_case = (Haul__Msg__BodyCase)kind;
	if (kind == HAUL__MSG__BODY_COMMIT)
		msg.commit = &commit;
	else
		msg.bye = &bye;
	return send_msg(m, &msg, e);
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
	Haul__Msg msg = HAUL__MSG__INIT, *answer = NULL;
	Haul__Abort a = HAUL__ABORT__INIT;
	struct err ignore = ERR_INIT;

	if (m->link.aborted)
		return;
	m->link.aborted = true;
	a.code = (uint32_t)why->code;
	a.source = (char *)err_src_name(why->src);
	a.reason = (char *)why->msg;
	a.remedy = (char *)why->fix;
	msg.body_case = HAUL__MSG__BODY_ABORT;
	msg.abort = &a;
	if (send_msg(m, &msg, &ignore) < 0)
		return;
	if (talk_expect(m, m->link.ctl, HAUL__MSG__BODY_UNDONE, &answer, deadline_in_ms(5000),
	                &ignore) == 0)
		haul__msg__free_unpacked(answer, NULL);
	else
		log_warn("the destination did not confirm that it cleaned up: %s", ignore.msg);
}
