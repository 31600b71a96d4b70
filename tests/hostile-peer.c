// SPDX-License-Identifier: GPL-2.0-or-later
/* hostile-peer.c - see hostile-peer.h. */
#include "tests/hostile-peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/clock.h"

const char *host;
unsigned int tried, failed;

void verdict(bool ok, const char *what, const char *said)
{
	tried++;
	failed += !ok;
	printf("%s %-44s %s\n", ok ? "ok  " : "FAIL", what, said);
	fflush(stdout);
}

/* ---- one conversation ---- */

int dial(struct chan **out, uint64_t route, struct err *e)
{
	struct chan_target to = {
		.host = host, .port = TR_PORT_DEFAULT, .route = route, .connect_ms = LIMIT_MS
	};

	return chan_connect(out, &to, e);
}

bool say(struct chan *ch, Haul__Msg *m)
{
	struct err e = ERR_INIT;

	return wire_send(ch, m, deadline_in_ms(LIMIT_MS), &e) == 0;
}

Haul__Msg *hear(struct chan *ch)
{
	Haul__Msg *m = NULL;
	struct err e = ERR_INIT;

	return wire_recv(ch, &m, deadline_in_ms(LIMIT_MS), &e) < 0 ? NULL : m;
}

/* Until the other side has nothing to say any more. */
void listen_to_end(struct talk *t)
{
	size_t at = 0;
	Haul__Msg *m;

	t->said[0] = 0;
	while (t->ch && (m = hear(t->ch))) {
		int n = 0;

		if (m->body_case == HAUL__MSG__BODY_ABORT)
			n = snprintf(t->said + at, sizeof(t->said) - at, "ABORT %u: %s; ",
			             m->abort->code, m->abort->reason);
		else if (m->body_case == HAUL__MSG__BODY_OUTCOME)
			n = snprintf(t->said + at, sizeof(t->said) - at, "OUTCOME %d; ",
			             m->outcome->state);
		else
			n = snprintf(t->said + at, sizeof(t->said) - at, "%s; ",
			             m->body_case == HAUL__MSG__BODY_UNDONE ? "UNDONE"
			             : m->body_case == HAUL__MSG__BODY_PONG ? "PONG"
			                                                    : "something else");
		at += (size_t)n < sizeof(t->said) - at ? (size_t)n : 0;
		haul__msg__free_unpacked(m, NULL);
	}
	snprintf(t->said + at, sizeof(t->said) - at, "closed");
	chan_free(t->ch);
	t->ch = NULL;
}

bool say_hello(struct chan *ch, unsigned int version, unsigned int compat, Haul__Role role,
               const uint8_t *secret, unsigned int streams)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Hello h = HAUL__HELLO__INIT;

	h.version = version;
	h.compat = compat;
	h.role = role;
	h.streams = streams;
	h.secret.data = (uint8_t *)secret;
	h.secret.len = secret ? 32 : 0;
	m.body_case = HAUL__MSG__BODY_HELLO;
	m.hello = &h;
	return say(ch, &m);
}

bool say_offer(struct chan *ch, unsigned int pid, void (*more)(Haul__Offer *o))
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Offer o = HAUL__OFFER__INIT;
	Haul__Criu c = HAUL__CRIU__INIT;
	Haul__Identity root = HAUL__IDENTITY__INIT, *root_v = &root;
	struct utsname u;

	uname(&u);
	root.caps = UINT64_MAX;
	o.identity = &root_v;
	o.n_identity = 1;
	o.kernel = u.release;
	o.machine = u.machine;
	o.page_bytes = 4096;
	c.version = 30000;
	o.criu = &c;
	o.pid = &pid;
	o.n_pid = 1;
	o.root_pid = pid;
	m.body_case = HAUL__MSG__BODY_OFFER;
	m.offer = &o;
	if (more)
		more(&o);
	return say(ch, &m);
}

bool say_start(struct chan *ch, unsigned int streams)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Start s = HAUL__START__INIT;

	s.streams = streams;
	s.freeze_limit_ms = 10000;
	m.body_case = HAUL__MSG__BODY_START;
	m.start = &s;
	return say(ch, &m);
}

bool hears(struct chan *ch, int kind)
{
	Haul__Msg *m = hear(ch);
	bool yes = m && (int)m->body_case == kind;

	if (m)
		haul__msg__free_unpacked(m, NULL);
	return yes;
}

const char *const state_names[N_STATES] = { "hello", "offer", "start", "rounds" };

/* A migration of our own, up to @s. */
bool reach(struct talk *t, enum state s, void (*more)(Haul__Offer *o))
{
	struct err e = ERR_INIT;
	Haul__Msg *m = NULL;

	*t = (struct talk){ 0 };
	if (dial(&t->ch, 0, &e) < 0) {
		snprintf(t->said, sizeof(t->said), "%s", e.msg);
		return false;
	}
	if (s == HELLO)
		return true;
	bool ok = say_hello(t->ch, PROTOCOL_VERSION, PROTOCOL_COMPAT, HAUL__ROLE__ROLE_CONTROL,
	                    NULL, 0) &&
	          (m = hear(t->ch)) && m->body_case == HAUL__MSG__BODY_HELLO &&
	          m->hello->secret.len == 32;

	if (ok) {
		t->route = m->hello->route;
		memcpy(t->secret, m->hello->secret.data, 32);
	}
	if (m)
		haul__msg__free_unpacked(m, NULL);
	if (ok && s > OFFER)
		ok = say_offer(t->ch, PID_FREE, more) && hears(t->ch, HAUL__MSG__BODY_ANSWER);
	if (ok && s > START)
		ok = say_start(t->ch, 1) && hears(t->ch, HAUL__MSG__BODY_STARTED);
	if (!ok)
		listen_to_end(t);
	return ok;
}

/* A data stream of it. */
struct chan *stream(const struct talk *t, Haul__Role role)
{
	struct err e = ERR_INIT;
	struct chan *ch = NULL;

	if (dial(&ch, t->route, &e) == 0 &&
	    say_hello(ch, PROTOCOL_VERSION, PROTOCOL_COMPAT, role, t->secret, 0) &&
	    hears(ch, HAUL__MSG__BODY_HELLO))
		return ch;
	chan_free(ch);
	return NULL;
}
