// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hostile.c - a client that breaks the protocol in every way it can, with a key that is
 * trusted: against a hauld, each must be refused with the error that the table says.
 *
 * hostile HOST order|lengths|frames|switch|strangers ROUTE...: see usage.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/hostile-peer.h"

#define NO_SECRET    "a stream without this migration's secret; closed"
#define NO_MIGRATION "a stream of no migration; "

/* ---- every message in every state ---- */

/* All of them: 1 to 20, and IMAGES. */
#define N_KINDS    21
#define KIND_OF(i) ((i) < 20 ? (i) + 1 : (int)HAUL__MSG__BODY_IMAGES)

/* An empty message of @kind: its field in Msg with a length of 0. */
static bool say_empty(struct chan *ch, int kind)
{
	uint8_t msg[8] = { 0 };
	struct err e = ERR_INIT;
	unsigned int key = (unsigned int)kind << 3 | 2, n = 4;

	while (key >= 0x80) {
		msg[n++] = (uint8_t)(key | 0x80);
		key >>= 7;
	}
	msg[n++] = (uint8_t)key;
	msg[n++] = 0;
	msg[3] = (uint8_t)(n - 4);
	return chan_write(ch, &(struct iovec){ msg, n }, 1, deadline_in_ms(LIMIT_MS), &e) == 0;
}

/* What must be said to an empty message of @kind. */
static void expect(enum state s, int kind, char *out, size_t bytes)
{
	static const struct {
		enum state s;
		int kind;
		const char *text;
	} own[] = {
		{ HELLO, HAUL__MSG__BODY_HELLO, "the source speaks protocol 0" },
		{ OFFER, HAUL__MSG__BODY_OFFER, "offer of 0 pids" },
		{ START, HAUL__MSG__BODY_START, "0 streams wanted" },
		{ ROUNDS, HAUL__MSG__BODY_SWITCH_OVER, "not as the offer said" },
	};

	snprintf(out, bytes, "message %d in state %s", kind, state_names[s]);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].s == s && own[i].kind == kind)
			snprintf(out, bytes, "%s", own[i].text);
	if (kind == HAUL__MSG__BODY_ABORT || kind == HAUL__MSG__BODY_BYE)
		snprintf(out, bytes, "UNDONE");
	/* these two fit everywhere; so do no images at all while images may come */
	if (kind == HAUL__MSG__BODY_PING)
		snprintf(out, bytes, "PONG; UNDONE");
	if (kind == HAUL__MSG__BODY_PONG || (kind == HAUL__MSG__BODY_IMAGES && s == ROUNDS))
		snprintf(out, bytes, "UNDONE");
}

static void order(void)
{
	for (enum state s = HELLO; s < N_STATES; s++)
		for (int i = 0; i < N_KINDS; i++) {
			struct talk t;
			char want[80], what[80];

			expect(s, KIND_OF(i), want, sizeof(want));
			snprintf(what, sizeof(what), "message %d in %s", KIND_OF(i),
			         state_names[s]);
			if (reach(&t, s, NULL)) {
				say_empty(t.ch, KIND_OF(i));
				if (!strstr(want, "message") && strstr(want, "UNDONE"))
					say_empty(t.ch, HAUL__MSG__BODY_BYE);
				listen_to_end(&t);
			}
			verdict(strstr(t.said, want) && strstr(t.said, "UNDONE; closed"), what,
			        t.said);
		}
}

/* ---- versions and lengths ---- */

static void send_raw(struct talk *t, const void *p, size_t n)
{
	struct err e = ERR_INIT;

	chan_write(t->ch, &(struct iovec){ (void *)p, n }, 1, deadline_in_ms(LIMIT_MS), &e);
}

static void version(unsigned int v, unsigned int compat, const char *want)
{
	struct talk t;
	char what[64];

	snprintf(what, sizeof(what), "version %u, understands %u", v, compat);
	if (reach(&t, HELLO, NULL)) {
		say_hello(t.ch, v, compat, HAUL__ROLE__ROLE_CONTROL, NULL, 0);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, want) != NULL, what, t.said);
}

static void lengths(void)
{
	static const struct {
		const char *what, *bytes;
		size_t n;
		const char *want;
	} v[] = {
		{ "a message of 4 GiB", "\xff\xff\xff\xff", 4, "a message of 4294967295 bytes" },
		{ "a message of 64 MiB and a byte", "\4\0\0\1", 4, "a message of 67108865 bytes" },
		{ "an empty message", "\0\0\0\0", 4, "a message of 0 bytes" },
		{ "a message of no kind", "\0\0\0\2\xf8\x7f", 6, "cannot be decoded" },
		{ "a field longer than its message", "\0\0\0\3\x0a\x7f\x08", 7,
		  "cannot be decoded" },
	};

	for (enum state s = HELLO; s < N_STATES; s++)
		for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
			struct talk t;
			char what[80];

			snprintf(what, sizeof(what), "%s in %s", v[i].what, state_names[s]);
			if (reach(&t, s, NULL)) {
				send_raw(&t, v[i].bytes, v[i].n);
				listen_to_end(&t);
			}
			verdict(strstr(t.said, v[i].want) != NULL, what, t.said);
		}
	version(9, 9, "the source speaks protocol 9 (9 at least), we speak 2");
	version(0, 0, "the source speaks protocol 0");
	version(1, 1, "the source speaks protocol 1");
	version(UINT32_MAX, 3, "the source speaks protocol 4294967295 (3 at least)");
}

/* ---- page frames ---- */

struct bad_frame {
	const char *what;
	unsigned int at; /* in the frame below, 4 bytes in network order */
	uint32_t v;
	const char *want;
};

/* PAGES with one run of zeros: header 24, run 24. */
static const uint8_t good_frame[48] = { 'H', 'F',  'R', '1', 1, 0,    0,    1,  0, 0, 0, 0,
	                                0,   0,    0,   0,   0, 0,    0,    24, 0, 0, 0, 0,
	                                0,   0,    0,   0,   0, 0x7c, 0xff, 1,  0, 0, 0, 0,
	                                0,   0x10, 0,   0,   0, 0,    0,    1,  0, 0, 0, 2 };

static const struct bad_frame frames[] = {
	{ "no frame at all", 0, 0x12345678, "bad page frame: magic" },
	{ "a type that is none", 4, 0x09000001, "bad page frame: type" },
	{ "65535 runs", 4, 0x0100ffff, "bad page frame: too many" },
	{ "2^32-1 data pages", 12, UINT32_MAX, "bad page frame: too many" },
	{ "a body of 4 GiB", 16, UINT32_MAX, "bad page frame: length" },
	{ "a body shorter than its runs", 16, 8, "bad page frame: length" },
	{ "16 TiB of zeros in a run", 40, UINT32_MAX, "bad page frame: length of a run" },
	{ "a run of nothing", 40, 0, "bad page frame: length of a run" },
	{ "half a page off", 36, 0x800, "bad page frame: address" },
	{ "behind the last address", 32, 0x01000000, "bad page frame: address" },
	{ "an address of the kernel", 32, 0x00ffff80, "out of range" },
	{ "an object that is none", 28, 0x7cff09, "bad page frame: object" },
	{ "a kind that is none", 44, 7, "bad page frame: kind" },
	{ "data that is not there", 44, 1, "bad page frame: runs and pages" },
	{ "WANT from the source", 4, 0x03000001, "frame 3 on a stream" },
};

static void one_frame(const struct bad_frame *b)
{
	uint8_t f[sizeof(good_frame)];
	struct err e = ERR_INIT;
	struct chan *ch = NULL;
	struct talk t;

	memcpy(f, good_frame, sizeof(f));
	for (int i = 0; i < 4; i++)
		f[b->at + (unsigned int)i] = (uint8_t)(b->v >> (24 - 8 * i));
	if (reach(&t, ROUNDS, NULL)) {
		ch = stream(&t, HAUL__ROLE__ROLE_DATA);
		if (ch)
			chan_write(ch, &(struct iovec){ f, sizeof(f) }, 1, deadline_in_ms(LIMIT_MS),
			           &e);
		listen_to_end(&t);
	}
	verdict(ch && strstr(t.said, b->want), b->what, t.said);
	chan_free(ch);
}

/* ---- SWITCH ---- */

static void one_image(const char *name, const char *want)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Images images = HAUL__IMAGES__INIT;
	Haul__Image i = HAUL__IMAGE__INIT, *v = &i;
	struct talk t;
	char what[64];

	snprintf(what, sizeof(what), "image \"%.20s\"", name);
	i.name = (char *)name;
	images.n_image = 1;
	images.image = &v;
	m.body_case = HAUL__MSG__BODY_IMAGES;
	m.images = &images;
	if (reach(&t, ROUNDS, NULL)) {
		say(t.ch, &m);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, want) && strstr(t.said, "UNDONE"), what, t.said);
}

struct bad_map {
	const char *what;
	uint64_t obj;
	const char *runs;
	size_t n;
	unsigned int objects;
	const char *want;
};

#define TASK ((uint64_t)PID_FREE << 8 | 1)
static const struct bad_map maps[] = {
	{ "a page that was never sent", TASK, "\x10\1\0", 3, 1, "should be here and is not" },
	{ "an eager page that was never sent", TASK, "\x10\1\2", 3, 1,
	  "should be here and is not" },
	{ "a map that is cut", TASK, "\x10\1", 2, 1, "page map is cut short" },
	{ "a number without end", TASK, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, 1,
	  "page map is cut short" },
	{ "a run past the last address", TASK, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f\1", 11, 1,
	  "page map has a run out of range" },
	{ "a gap past the last address", TASK, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f\1\1", 11, 1,
	  "page map has a run out of range" },
	{ "a run of nothing", TASK, "\x10\0\1", 3, 1, "page map has a run out of range" },
	{ "a class that is none", TASK, "\x10\1\3", 3, 1, "page map has a run out of range" },
	{ "one process twice", TASK, "\x10\1\1", 3, 2, "File exists" },
	{ "an object that is none", 77 << 8 | 9, "\x10\1\1", 3, 1, "that is none" },
	{ "a process that was not offered", 1 << 8 | 1, "\x10\1\1", 3, 1, "CRIU" },
	{ "a process of a pid too large", (1ULL << 40 | PID_FREE) << 8 | 1, "\x10\1\1", 3, 1,
	  "an object 10000007cff01 that is none" },
	{ "lazy shared memory", 77 << 8 | 2, "\x10\1\1", 3, 1, "shared memory" },
};

static void one_map(const struct bad_map *b)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Switch s = HAUL__SWITCH__INIT;
	Haul__Object o = HAUL__OBJECT__INIT, *v[2] = { &o, &o };
	struct talk t;

	o.obj = b->obj;
	o.runs.data = (uint8_t *)b->runs;
	o.runs.len = b->n;
	s.object = v;
	s.n_object = b->objects;
	s.tcp_close = true;
	s.tasks = 1;
	m.body_case = HAUL__MSG__BODY_SWITCH_OVER;
	m.switch_over = &s;
	if (reach(&t, ROUNDS, NULL)) {
		say(t.ch, &m);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, b->want) && strstr(t.said, "UNDONE"), b->what, t.said);
}

/* An offer with a process that is there already, started all the same. */
static void refused_offer(void)
{
	struct talk t;

	if (reach(&t, OFFER, NULL)) {
		if (say_offer(t.ch, 1, NULL) && hears(t.ch, HAUL__MSG__BODY_ANSWER))
			say_start(t.ch, 1);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, "the offer was refused") != NULL, "START of what was refused",
	        t.said);
}

static void switches(void)
{
	static const char *const names[] = { "../x.img", "/etc/x.img", "x.txt", ".x.img",
		                             "",         "a/../b.img", "..img", "x\n.img" };
	char name[100];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		one_image(names[i], "image with a bad name");
	memset(name, 'a', sizeof(name));
	strcpy(name + sizeof(name) - 5, ".img");
	one_image(name, "image with a bad name");
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		one_map(&maps[i]);
	refused_offer();
}

/* ---- at another peer's migration ---- */

static void hex(const char *in, uint8_t out[32])
{
	for (int i = 0; i < 32; i++) {
		unsigned int b = 0;

		sscanf(in + 2 * i, "%2x", &b);
		out[i] = (uint8_t)b;
	}
}

/* One connection to @route; nothing but a refusal may come of it. */
static void guess(uint64_t route, Haul__Role role, const uint8_t *secret, const char *what,
                  const char *want)
{
	struct talk t = { 0 };
	struct err e = ERR_INIT;

	if (dial(&t.ch, route, &e) < 0) {
		snprintf(t.said, sizeof(t.said), "%s", e.msg);
	} else {
		say_hello(t.ch, PROTOCOL_VERSION, PROTOCOL_COMPAT, role, secret, 1);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, want) != NULL, what, t.said);
}

/* @old: the secret of a migration that is over */
static void strangers(uint64_t route, const char *old)
{
	static const uint8_t zero[32];
	uint8_t before[32];

	hex(old, before);
	for (int role = 0; role < 6; role++) {
		char what[64];

		snprintf(what, sizeof(what), "role %d with a secret of zeros", role);
		guess(route, (Haul__Role)role, zero, what, NO_SECRET);
		snprintf(what, sizeof(what), "role %d without a secret", role);
		guess(route, (Haul__Role)role, NULL, what, NO_SECRET);
	}
	guess(route, HAUL__ROLE__ROLE_RESUME, before, "resume with another migration's secret",
	      NO_SECRET);
	guess(route, HAUL__ROLE__ROLE_DATA, before, "data with another migration's secret",
	      NO_SECRET);
	guess(route ^ 1, HAUL__ROLE__ROLE_DATA, zero, "data for a route that is none",
	      NO_MIGRATION);
	guess(route ^ 1, HAUL__ROLE__ROLE_RESUME, zero, "resume for a route that is none",
	      "OUTCOME 0");
}

/* After its end: all that was right before. */
static void replay(uint64_t route, const char *secret)
{
	uint8_t s[32];

	hex(secret, s);
	guess(route, HAUL__ROLE__ROLE_CONTROL, s, "control of a migration that is over",
	      NO_MIGRATION);
	guess(route, HAUL__ROLE__ROLE_DATA, s, "data of a migration that is over", NO_MIGRATION);
	guess(route, HAUL__ROLE__ROLE_URGENT, s, "urgent of a migration that is over",
	      NO_MIGRATION);
	guess(route, HAUL__ROLE__ROLE_RESUME, s, "resume of a migration that is over", "OUTCOME ");
	guess(0, HAUL__ROLE__ROLE_RESUME, s, "resume as a new migration",
	      "a stream of no migration");
	guess(0, HAUL__ROLE__ROLE_DATA, s, "data as a new migration", NO_MIGRATION);
}

/* ---- */

static int usage(void)
{
	fputs("Usage: hostile HOST order|lengths|frames|switch\n"
	      "       hostile HOST strangers ROUTE OLD-SECRET\n"
	      "       hostile HOST replay ROUTE SECRET\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	log_setup("hostile", LOG_ERR_);
	if (argc < 3)
		return usage();
	host = argv[1];
	const char *what = argv[2];

	if (!strcmp(what, "order"))
		order();
	else if (!strcmp(what, "lengths"))
		lengths();
	else if (!strcmp(what, "frames"))
		for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
			one_frame(&frames[i]);
	else if (!strcmp(what, "switch"))
		switches();
	else if (argc == 5 && strlen(argv[4]) == 64 && !strcmp(what, "strangers"))
		strangers(strtoull(argv[3], NULL, 16), argv[4]);
	else if (argc == 5 && strlen(argv[4]) == 64 && !strcmp(what, "replay"))
		replay(strtoull(argv[3], NULL, 16), argv[4]);
	else
		return usage();
	printf("%u tried, %u not refused as they should\n", tried, failed);
	return failed ? 1 : 0;
}
