// SPDX-License-Identifier: GPL-2.0-or-later
/* talk.c - the destination's half of docs/PROTOCOL.md section 4, when the destination is an archive. */
#include "hauler/save/priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "archive/archive.pb-c.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/host/journal.h"
#include "common/log.h"
#include "config.h"
#include "engine/images/img.h"

#define HELLO_LIMIT_MS 10000
#define IMAGES_MAX     (16ULL << 30)

/* ---- before pages ---- */

static int say_hello(struct save *s, struct err *e)
{
	Haul__Hello h = HAUL__HELLO__INIT;
	char program[] = PACKAGE_STRING, boot[JOURNAL_BOOT_BYTES];
	struct utsname u;

	uname(&u);
	journal_boot_id(boot);
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT;
	h.program = program;
	h.host = u.nodename;
	h.route = s->route;
	h.boot = boot;
	h.secret.data = s->secret;
	h.secret.len = sizeof(s->secret);
	return save_say(s, HAUL__MSG__BODY_HELLO, &h, e);
}

static int say_answer(struct save *s, const Haul__Offer *o, struct err *e)
{
	AUTO(mem) Haul__FileSeen *seen = calloc(o->n_file + 1, sizeof(*seen));
	AUTO(mem) Haul__FileSeen **ptr = calloc(o->n_file + 1, sizeof(Haul__FileSeen *));
	Haul__Answer a = HAUL__ANSWER__INIT;
	Haul__Criu c = HAUL__CRIU__INIT;

	if (!seen || !ptr)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the answer");
	for (size_t i = 0; i < o->n_file; i++) {
		haul__file_seen__init(&seen[i]);
		seen[i].state = save_files_seen(s, o->file[i]);
		ptr[i] = &seen[i];
	}
	c.lazy_pages = true;
	a.criu = &c;
	a.accepted = true;
	a.seen = ptr;
	a.n_seen = o->n_file;
	return save_say(s, HAUL__MSG__BODY_ANSWER, &a, e);
}

static int take_offer(struct save *s, const Haul__Offer *o, struct err *e)
{
	int r = save_state_begin(s, o, e);

	s->with_files = o->files != HAUL__FILES__FILES_REQUIRE;
	return r < 0 ? r : say_answer(s, o, e);
}

static int take_start(struct save *s, const Haul__Start *st, struct err *e)
{
	int r = save_pages_known(s, e);

	if (r < 0)
		return r;
	save_files_known(s);
	pthread_mutex_lock(&s->lock);
	s->n_streams = st->streams;
	pthread_mutex_unlock(&s->lock);
	return save_say(s, HAUL__MSG__BODY_STARTED, NULL, e);
}

static int take_images(struct save *s, const Haul__Images *m, struct err *e)
{
	for (size_t i = 0; i < m->n_image; i++) {
		const Haul__Image *img = m->image[i];

		s->image_bytes += img->data.len;
		if (!img_name_ok(img->name) || s->image_bytes > IMAGES_MAX ||
		    img->at > s->image_bytes)
			return err_set(e, ERR_PEER, EBADMSG, "an image that cannot be one");
		int r = img_save_at(s->images_fd, img->name, img->at, img->data.data, img->data.len,
		                    e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the state is complete ---- */

static int take_switch(struct save *s, const Haul__Switch *sw, struct err *e)
{
	uint64_t t0 = now_us();
	Haul__Restored m = HAUL__RESTORED__INIT;
	int r = save_state_maps(s, sw, e);

	if (r < 0)
		return r;
	/* from here on the tree is not needed: it may run on */
	r = save_say(s, HAUL__MSG__BODY_PLACED, NULL, e);
	if (r < 0)
		return r;
	fault_at(FAULT_A_PIECES);
	r = save_state_finish(s, e);
	if (r < 0)
		return r;
	m.restore_us = m.images_us = now_us() - t0;
	return save_say(s, HAUL__MSG__BODY_RESTORED, &m, e);
}

static int take_commit(struct save *s, struct err *e)
{
	int r = save_state_ended(s, e);

	if (r < 0)
		return r;
	r = save_say(s, HAUL__MSG__BODY_RUNNING, NULL, e);
	return r < 0 ? r : save_say(s, HAUL__MSG__BODY_DRAINED, NULL, e);
}

/* ---- the loop ---- */

/* Return: 0: go on; 1: it is over; -errno */
static int take(struct save *s, const Haul__Msg *msg, struct err *e)
{
	switch (msg->body_case) {
	case HAUL__MSG__BODY_OFFER:
		return take_offer(s, msg->offer, e);
	case HAUL__MSG__BODY_START:
		return take_start(s, msg->start, e);
	case HAUL__MSG__BODY_PING:
		return wire_pong(s->ctl, msg->ping, deadline_in_ms(HELLO_LIMIT_MS), e);
	case HAUL__MSG__BODY_FILE_PART:
		return save_files_part(s, msg->file_part, e);
	case HAUL__MSG__BODY_IMAGES:
		return take_images(s, msg->images, e);
	case HAUL__MSG__BODY_SWITCH_OVER:
		return take_switch(s, msg->switch_over, e);
	case HAUL__MSG__BODY_COMMIT:
		return take_commit(s, e);
	case HAUL__MSG__BODY_PARKED: /* connections do not move */
		return 0;
	case HAUL__MSG__BODY_BYE:
	case HAUL__MSG__BODY_ABORT:
		save_say(s, HAUL__MSG__BODY_UNDONE, NULL, e);
		return 1;
	default:
		return err_set(e, ERR_BUG, EPROTO, "message %d to an archive", msg->body_case);
	}
}

static int step(struct save *s, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = wire_recv(s->ctl, &msg, DEADLINE_NEVER, e);

	if (r < 0)
		return r;
	r = take(s, msg, e);
	haul__msg__free_unpacked(msg, NULL);
	return r;
}

static void say_abort(struct save *s, const struct err *why)
{
	Haul__Abort a = HAUL__ABORT__INIT;
	struct err ignore = ERR_INIT;

	if (why->src == ERR_LINK || why->src == ERR_STOPPED)
		return;
	a.code = (uint32_t)why->code;
	a.source = (char *)err_src_name(why->src);
	a.reason = (char *)why->msg;
	a.remedy = (char *)why->fix;
	save_say(s, HAUL__MSG__BODY_ABORT, &a, &ignore);
}

static void control(struct conn *c)
{
	struct save *s = c->s;
	struct err e = ERR_INIT;

	s->ctl = c->ch;
	int r = s->a ? say_hello(s, &e) : err_set(&e, ERR_BUG, EPROTO, "only an answer");

	while (r == 0)
		r = step(s, &e);
	if (r < 0) {
		say_abort(s, &e);
		/* S asks for UNDONE, and ends the connection */
		struct err over = ERR_INIT;

		while (step(s, &over) == 0)
			;
	}
	if (s->a)
		save_state_drop(s);
}

/* ---- after a crash ---- */

static Haul__State outcome(const struct save *s, const Haul__Hello *h)
{
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;

	if (archive_open(&a, s->path, ARCHIVE_READ, &e) < 0) {
		log_err("%s", e.msg);
		return HAUL__STATE__STATE_UNKNOWN;
	}
	const Archive__Index *x = archive_index(a);

	for (size_t i = 0; i < x->n_state; i++)
		if (secret_is(x->state[i]->secret.data, h->secret.data, h->secret.len))
			return x->state[i]->mark == ARCHIVE__MARK__MARK_ENDED
			               ? HAUL__STATE__STATE_DONE
			               : HAUL__STATE__STATE_UNDONE;
	return HAUL__STATE__STATE_UNKNOWN;
}

static void answer(struct conn *c, const Haul__Hello *h)
{
	Haul__Outcome o = HAUL__OUTCOME__INIT;
	struct err e = ERR_INIT;
	uint64_t deadline = deadline_in_ms(HELLO_LIMIT_MS);

	o.state = outcome(c->s, h);
	if (wire_say_hello_back(c->ch, deadline, &e) == 0)
		wire_say(c->ch, HAUL__MSG__BODY_OUTCOME, &o, deadline, &e);
}

/* ---- a connection ---- */

/* @loop: save_pages_loop() or save_files_loop() */
static void stream(struct conn *c, bool data, int (*loop)(struct conn *c, struct err *e))
{
	struct save *s = c->s;
	struct err e = ERR_INIT;

	pthread_mutex_lock(&s->lock);
	c->data = data;
	pthread_mutex_unlock(&s->lock);
	if (wire_say_hello_back(c->ch, deadline_in_ms(HELLO_LIMIT_MS), &e) < 0 ||
	    loop(c, &e) == 0 || e.src == ERR_LINK || e.src == ERR_STOPPED)
		return;
	say_abort(s, &e);
	chan_cancel(c->ch);
}

void save_talk(struct conn *c)
{
	struct err e = ERR_INIT;
	Haul__Msg *msg = NULL;

	if (wire_recv(c->ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), &e) < 0)
		return;
	Haul__Role role = msg->body_case == HAUL__MSG__BODY_HELLO ? msg->hello->role
	                                                          : HAUL__ROLE__ROLE_NONE;

	if (role == HAUL__ROLE__ROLE_RESUME)
		answer(c, msg->hello);
	haul__msg__free_unpacked(msg, NULL);
	if (role == HAUL__ROLE__ROLE_CONTROL)
		control(c);
	else if (role == HAUL__ROLE__ROLE_DATA || role == HAUL__ROLE__ROLE_URGENT)
		stream(c, role == HAUL__ROLE__ROLE_DATA, save_pages_loop);
	else if (role == HAUL__ROLE__ROLE_FILES)
		stream(c, false, save_files_loop);
}
