// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hostile-talk.c - haul and hauld with a tongue of their own: linked in place of wire.o and
 * frame.o, it lies once where $HOSTILE says, with a real process and a real peer.
 *
 *   say:K:W    in place of message K an empty message W
 *   before:K:W an empty message W, then message K
 *   huge:K     in place of message K the length of a message of 4 GiB
 *   answer:3, parked:K  as the functions below say, before message K
 *   threads:7  SWITCH has attributes and sockets of process 1, too, and nonsense for the root of the tree
 *   outcome:18:N  the link breaks after the commit; then OUTCOME N
 *   missing:19:N  the same; then MISSING for process N, or for process 1
 *   want:0:1   WANT for pages of process 1; want:0:2: for very many
 *   pages:0    beside the first mark pages of processes and addresses that nobody asked about
 *   tell:FILE  no lie: route and secret go into FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "transport/msg/frame.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"
#include "transport/priv.h"

/* the true ones, under other names */
int true_wire_send(struct chan *c, const Haul__Msg *m, uint64_t deadline_us, struct err *e);
int true_wire_recv(struct chan *c, Haul__Msg **out, uint64_t deadline_us, struct err *e);
int true_frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
                    uint64_t deadline_us, struct err *e);
#define wire_send  true_wire_send
#define wire_recv  true_wire_recv
#define frame_send true_frame_send
#include "transport/msg/frame.c" /* NOLINT */
#include "transport/msg/wire.c" /* NOLINT */
#undef wire_send
#undef wire_recv
#undef frame_send
static bool done;

/* Is it time for the lie @what? Then *arg is its last number. */
static bool is_time(const char *what, int kind, int *arg)
{
	const char *s = getenv("HOSTILE");
	size_t n = strlen(what);
	int k = 0;

	*arg = 0;
	if (done || !s || strncmp(s, what, n) || s[n] != ':' ||
	    sscanf(s + n + 1, "%d:%d", &k, arg) < 1 || k != kind)
		return false;
	done = true;
	fprintf(stderr, "hostile: %s\n", s);
	return true;
}

static int say_empty(struct chan *c, int kind, uint64_t deadline_us, struct err *e)
{
	uint8_t msg[8] = { 0 };
	unsigned int key = (unsigned int)kind << 3 | 2, n = 4;

	for (; key >= 0x80; key >>= 7)
		msg[n++] = (uint8_t)(key | 0x80);
	msg[n++] = (uint8_t)key;
	msg[n++] = 0;
	msg[3] = (uint8_t)(n - 4);
	return chan_write(c, &(struct iovec){ msg, n }, 1, deadline_us, e);
}

static int say_outcome(struct chan *c, int state, uint64_t deadline_us, struct err *e)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Outcome o = HAUL__OUTCOME__INIT;

	o.state = (Haul__State)state;
	m.body_case = HAUL__MSG__BODY_OUTCOME;
	m.outcome = &o;
	return true_wire_send(c, &m, deadline_us, e);
}

/* Pages of process 1, which the source must not give away; or runs that are none. */
static int say_missing(struct chan *c, int silly, uint64_t deadline_us, struct err *e)
{
	static uint8_t page[] = { 0x80, 8, 1, 1 }, nonsense[] = { 0xff, 0xff, 0xff };
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Missing v = HAUL__MISSING__INIT;

	v.obj = silly ? (uint64_t)silly << 8 | 1 : 1 << 8 | 1;
	v.runs.data = silly ? nonsense : page;
	v.runs.len = silly ? sizeof(nonsense) : sizeof(page);
	m.body_case = HAUL__MSG__BODY_MISSING;
	m.missing = &v;
	return true_wire_send(c, &m, deadline_us, e);
}

/* Findings with escapes for the operator's terminal, of a degree that is none. */
static int say_answer(struct chan *c, uint64_t deadline_us, struct err *e)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Answer a = HAUL__ANSWER__INIT;
	Haul__Finding f = HAUL__FINDING__INIT, *v = &f;

	f.severity = (Haul__Severity)100000;
	f.code = (char *)"\033[2J";
	f.text = (char *)"all is well\033]0;owned\007\nreally";
	f.remedy = (char *)"none\r";
	a.n_finding = 1;
	a.finding = &v;
	a.accepted = true;
	m.body_case = HAUL__MSG__BODY_ANSWER;
	m.answer = &a;
	return true_wire_send(c, &m, deadline_us, e);
}

/* A packet of a connection that does not move: to this host's hauld. */
static int say_parked(struct chan *c, uint64_t deadline_us, struct err *e)
{
	static uint8_t packet[40] = { 0x45, 0, 0,    40, 0,    0,    0x40,        0,  64,
		                      6,    0, 0,    10, 77,   0,    1,           10, 77,
		                      0,    2, 0x20, 0,  0x10, 0xbd, [32] = 0x50, 2 };
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Parked p = HAUL__PARKED__INIT;
	ProtobufCBinaryData v = { sizeof(packet), packet };

	p.n_packet = 1;
	p.packet = &v;
	m.body_case = HAUL__MSG__BODY_PARKED;
	m.parked = &p;
	return true_wire_send(c, &m, deadline_us, e);
}

/* Attributes of a process that is not in the tree, and such that no thread can have. */
static int say_threads(struct chan *c, const Haul__Msg *m, uint64_t deadline_us, struct err *e)
{
	static uint8_t many[2000];
	Haul__Thread v[3], *list[3] = { &v[0], &v[1], &v[2] };
	Haul__Switch s = *m->switch_over;
	Haul__Msg lie = *m;

	for (int i = 0; i < 3; i++) {
		haul__thread__init(&v[i]);
		v[i].tid = i == 0 ? 1 : s.n_thread ? s.thread[0]->tid : 1u << 31;
		v[i].leader = true;
		v[i].oom_score_adj = i == 0 ? 777 : -100000;
		v[i].io_priority = UINT32_MAX;
		v[i].slack_ns = i == 0 ? 7777 : UINT64_MAX;
		v[i].coredump_filter = UINT32_MAX;
		v[i].cpus = (ProtobufCBinaryData){ i == 2 ? sizeof(many) : 8, many };
		v[i].sleep_ns = v[i].poll_ns = v[i].block = v[i].block2 = UINT64_MAX;
	}
	s.thread = list;
	s.n_thread = 3;
	Haul__Sock sock[2], *socks[2] = { &sock[0], &sock[1] };
	Haul__Sockopt option = HAUL__SOCKOPT__INIT, *options = &option;
	Haul__Group group = HAUL__GROUP__INIT, *groups = &group;

	option.row = 9999;
	option.value = (ProtobufCBinaryData){ sizeof(many), many };
	group.iface = (char *)"an interface with a name that is too long";
	group.address = (ProtobufCBinaryData){ 5, many };
	for (int i = 0; i < 2; i++) {
		haul__sock__init(&sock[i]);
		sock[i].pid = v[i].tid;
		sock[i].fd = i == 0 ? 0 : UINT32_MAX;
		sock[i].domain = AF_INET;
		sock[i].type = SOCK_STREAM;
		sock[i].n_option = sock[i].n_group = 1;
		sock[i].option = &options;
		sock[i].group = &groups;
	}
	s.sock = socks;
	s.n_sock = 2;
	lie.switch_over = &s;
	return true_wire_send(c, &lie, deadline_us, e);
}

/* For lies about how it ended there must be a reason to ask: cut off after RUNNING. */
static bool breaks(int kind)
{
	const char *s = getenv("HOSTILE");

	return kind == HAUL__MSG__BODY_RUNNING && s &&
	       (!strncmp(s, "outcome:", 8) || !strncmp(s, "missing:", 8));
}

static void tell(const Haul__Hello *h)
{
	const char *s = getenv("HOSTILE");
	FILE *f = s && !strncmp(s, "tell:", 5) && h->secret.len == 32 ? fopen(s + 5, "we") : NULL;

	if (!f)
		return;
	fprintf(f, "%016llx ", (unsigned long long)h->route);
	for (size_t i = 0; i < h->secret.len; i++)
		fprintf(f, "%02x", h->secret.data[i]);
	fputc('\n', f);
	fclose(f);
}

int wire_send(struct chan *c, const Haul__Msg *m, uint64_t deadline_us, struct err *e)
{
	int arg, kind = (int)m->body_case, r = 0;

	if (breaks(kind)) {
		r = true_wire_send(c, m, deadline_us, e);
		usleep(200000); /* until it was heard */
		shutdown(c->fd, SHUT_RDWR);
		return r;
	}
	if (is_time("huge", kind, &arg))
		return chan_write(c, &(struct iovec){ (void *)"\xff\xff\xff\xff", 4 }, 1,
		                  deadline_us, e);
	if (is_time("say", kind, &arg))
		return say_empty(c, arg, deadline_us, e);
	if (is_time("before", kind, &arg))
		r = say_empty(c, arg, deadline_us, e);
	else if (is_time("outcome", kind, &arg))
		return say_outcome(c, arg, deadline_us, e);
	else if (is_time("missing", kind, &arg))
		r = say_missing(c, arg, deadline_us, e);
	else if (is_time("answer", kind, &arg))
		return say_answer(c, deadline_us, e);
	else if (is_time("threads", kind, &arg))
		return say_threads(c, m, deadline_us, e);
	else if (is_time("parked", kind, &arg))
		r = say_parked(c, deadline_us, e);
	return r < 0 ? r : true_wire_send(c, m, deadline_us, e);
}

int wire_recv(struct chan *c, Haul__Msg **out, uint64_t deadline_us, struct err *e)
{
	int r = true_wire_recv(c, out, deadline_us, e);

	if (r == 0 && (*out)->body_case == HAUL__MSG__BODY_HELLO)
		tell((*out)->hello);
	return r;
}

/* ---- frames ---- */

static int send_zeros(struct chan *c, uint64_t obj, uint64_t vaddr, uint64_t deadline_us,
                      struct err *e)
{
	struct frame f = { .type = FRAME_PAGES, .n_runs = 1 };

	f.runs[0] = (struct frame_run){ obj, vaddr, FRAME_PAGES_MAX, RUN_ZERO };
	return true_frame_send(c, &f, NULL, 0, deadline_us, e);
}

static int send_want(struct chan *c, uint64_t obj, uint32_t pages, uint64_t deadline_us,
                     struct err *e)
{
	struct frame f = { .type = FRAME_WANT, .n_runs = 1 };

	f.runs[0] = (struct frame_run){ obj, 0x400000, pages, RUN_DATA };
	return true_frame_send(c, &f, NULL, 0, deadline_us, e);
}

int frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
               uint64_t deadline_us, struct err *e)
{
	int arg, r = 0;

	if (f->type == FRAME_MARK && is_time("pages", 0, &arg)) {
		r = send_zeros(c, 1 << 8 | 1, 0x10000, deadline_us, e);
		if (r == 0)
			r = send_zeros(c, 4000000ULL << 8 | 1, 0x10000, deadline_us, e);
		if (r == 0)
			r = send_zeros(c, 77 << 8 | 2, 0, deadline_us, e);
		if (r == 0)
			r = send_zeros(c, 1ULL << 60 | 1, 0x7ffff0000000, deadline_us, e);
	}
	if (f->type == FRAME_WANT && is_time("want", 0, &arg))
		r = send_want(c, arg == 1 ? 1 << 8 | 1 : f->runs[0].obj, arg == 2 ? 100000 : 1,
		              deadline_us, e);
	return r < 0 ? r : true_frame_send(c, f, data, n, deadline_us, e);
}
