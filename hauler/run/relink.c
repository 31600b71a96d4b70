// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * relink.c - the link broke after the hand-over: ask the destination for the outcome until it
 * answers, and continue with what it still lacks. The stopped copy here stays stopped.
 */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "hauler/report/report.h"
#include "transport/msg/haul.pb-c.h"

#define TRY_EVERY_MS     1000
#define LOOK_EVERY_MS    100
#define TELL_EVERY_US    10000000
#define OUTCOME_LIMIT_MS 30000
#define MISSING_LIMIT_MS 60000
#define MISSING_MSGS_MAX 4096u
#define MISSING_RUNS_MAX (1u << 24)
#define ENDED_BYTES      256

static void drop_left(struct mig *m)
{
	for (size_t i = 0; i < m->rest.n_left; i++)
		class_runs_fini(&m->rest.left[i].runs);
	free(steal(m->rest.left));
	m->rest.n_left = 0;
}

/* Close every connection, and end every thread that used one. */
static void drop_link(struct mig *m)
{
	if (m->pages.send)
		send_cancel(m->pages.send);
	if (m->link.ctl)
		chan_cancel(m->link.ctl);
	postcopy_end_threads(m);
	if (m->pages.send) {
		mig_send_stats(m, &m->fig.sent_stats);
		send_free(steal(m->pages.send));
	}
	pthread_mutex_lock(&m->halt.lock);
	struct chan *ctl = steal(m->link.ctl);

	pthread_mutex_unlock(&m->halt.lock);
	chan_free(ctl);
	chan_free(steal(m->link.urgent));
	for (unsigned int i = 0; i < STREAMS_LIMIT; i++)
		chan_free(steal(m->link.data[i]));
	memfd_close_all(m);
	drop_left(m);
}

static bool is_held(const struct mig *m, uint64_t obj)
{
	if (m->pages.has)
		return m->pages.has(m->pages.read_arg, obj);
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (obj == obj_of_task((uint64_t)m->copy.held[i].inner))
			return true;
	return false;
}

/* Only pages of the stopped copy, of nothing else on this host, and no more than we can hold. */
static int keep_missing(struct mig *m, const Haul__Missing *in, struct err *e)
{
	size_t runs = 0;

	if (!is_held(m, in->obj))
		return err_set(
		        e, ERR_PEER, EPROTO,
		        "the destination asks for pages of object %llx, which is not held here",
		        (unsigned long long)in->obj);
	for (size_t i = 0; i < m->rest.n_left; i++)
		runs += m->rest.left[i].runs.n;
	if (m->rest.n_left == MISSING_MSGS_MAX || runs > MISSING_RUNS_MAX)
		return err_set(e, ERR_PEER, E2BIG, "the destination lists too many missing pages");
	struct left_obj *v = realloc(m->rest.left, (m->rest.n_left + 1) * sizeof(*v));

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for what is missing");
	m->rest.left = v;
	v[m->rest.n_left] = (struct left_obj){ .obj = in->obj };
	m->rest.n_left++; /* freed with the others, even when it is wrong */
	return class_runs_unpack(in->runs.data, in->runs.len, &v[m->rest.n_left - 1].runs, e);
}

/* Until the destination has named all that it lacks. */
static int take_missing(struct mig *m, struct err *e)
{
	uint64_t deadline = deadline_in_ms(MISSING_LIMIT_MS);
	bool last = false;
	int r = 0;

	while (r == 0 && !last) {
		Haul__Msg *msg = NULL;

		r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_MISSING, &msg, deadline, e);
		if (r < 0)
			return r;
		last = msg->missing->last;
		if (msg->missing->runs.len)
			r = keep_missing(m, msg->missing, e);
		haul__msg__free_unpacked(msg, NULL);
	}
	return r;
}

/* It runs there: reconnect the streams, and put all that it lacks into one list. */
static int link_up(struct mig *m, struct send **s, struct err *e)
{
	/* before a WANT can come */
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (memfd_get(m, m->copy.held[i].pid, e) < 0)
			return -e->code;
	int r = talk_streams(m, e);

	if (r)
		return r;
	r = postcopy_listen(m, e);
	if (r)
		return r;
	r = take_missing(m, e);
	return r ? r : send_new(s, m->link.data, m->opt->pol.v.streams, m->pages.sent, e);
}

static int go_on(struct mig *m, struct err *e)
{
	struct send *s = NULL;
	int r = link_up(m, &s, e);

	m->pages.send = s;
	if (m->fig.t.running_us == 0)
		m->fig.t.running_us = now_us();
	m->pages.mark = 0;
	record_ran(m);
	if (r == 0 && m->rest.drained)
		freeze_kill(m);
	m->back_to = m->rest.drained ? MIG_DONE : MIG_POSTCOPY;
	return r;
}

/* Return: 0 and m->back_to; -errno */
static int attempt(struct mig *m, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = m->pages.sent ? 0 : sent_new(&m->pages.sent, e);

	if (r < 0)
		return r;
	r = talk_resume(m, e);
	if (r < 0)
		return r;
	r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_OUTCOME, &msg,
	                deadline_in_ms(OUTCOME_LIMIT_MS), e);
	if (r < 0)
		return r;
	int state = (int)msg->outcome->state;
	char ended[ENDED_BYTES];

	snprintf(ended, sizeof(ended), "%s", msg->outcome->ended);
	printable(ended);
	haul__msg__free_unpacked(msg, NULL);
	switch (state) {
	case HAUL__STATE__STATE_UNDONE:
		if (m->rest.ran)
			return err_set(e, ERR_PEER, EPROTO,
			               "%s has said that the process runs there, and now that it "
			               "never did",
			               m->opt->dest);
		m->link.aborted = true;
		m->halt.committed =
		        false; /* COMMIT never arrived, and never will: that connection is closed */
		m->back_to = MIG_UNDO;
		err_set(e, ERR_LINK, ECONNRESET,
		        "the link broke before the hand-over; %s has removed its copy",
		        m->opt->dest);
		return 0;
	case HAUL__STATE__STATE_RUNNING:
		return go_on(m, e);
	case HAUL__STATE__STATE_DONE:
		freeze_kill(m);
		m->back_to = MIG_DONE;
		return 0;
	case HAUL__STATE__STATE_LOST:
		return err_set(e, ERR_PEER, EOWNERDEAD,
		               "the copy at %s was killed because CRIU or the pager had died",
		               m->opt->dest);
	case HAUL__STATE__STATE_ENDED:
		return err_set(e, ERR_PEER, EOWNERDEAD, "destination: %s", ended);
	default:
		return err_set(e, ERR_PEER, ENOENT, "%s knows nothing of this migration",
		               m->opt->dest);
	}
}

/* -EBUSY: the destination has not noticed yet that our old connection is dead. */
static bool worth_another(const struct err *e)
{
	return e->src == ERR_LINK || e->code == EBUSY;
}

/* Return: false when it is time to give up */
static bool pause_between(struct mig *m, uint64_t until_us)
{
	freeze_watch(m);
	for (unsigned int ms = 0; ms < TRY_EVERY_MS; ms += LOOK_EVERY_MS) {
		if (m->halt.leave || now_us() >= until_us)
			return false;
		usleep(LOOK_EVERY_MS * 1000);
	}
	return true;
}

int relink_run(struct mig *m, struct err *e)
{
	uint64_t until = deadline_in_ms((uint64_t)m->opt->link_limit_s * 1000), told_us = 0;
	int r;

	log_warn("%s", e->msg);
	report_waiting(m, e);
	do {
		drop_link(m);
		err_clear(e);
		r = attempt(m, e);
		if (r < 0 && now_us() - told_us > TELL_EVERY_US) {
			report_waiting(m, e);
			told_us = now_us();
		}
	} while (r < 0 && worth_another(e) && pause_between(m, until));
	if (r < 0) {
		struct err why = *e;

		drop_link(m);
		*e = why;
	}
	return r;
}
