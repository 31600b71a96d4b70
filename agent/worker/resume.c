// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * resume.c - the source is back after its link broke: tell it the outcome, and which pages are
 * missing. docs/PROTOCOL.md section 4, "when the link breaks".
 */
#include "agent/worker/resume.h"

#include <stdlib.h>

#include "agent/worker/streams.h"
#include "agent/worker/tree.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/images/class_runs.h"
#include "transport/msg/haul.pb-c.h"

#define UNDO_LIMIT_MS    20000 /* from the end of the old connection to "undone" */
#define SAY_LIMIT_MS     10000
#define STREAMS_LIMIT_MS 30000
#define RUNS_A_MESSAGE   1000000u

static int say_outcome(const struct wrk *w, struct chan *ch, Haul__State state, struct err *e)
{
	Haul__Outcome o = HAUL__OUTCOME__INIT;
	char ended[TREE_ENDED_BYTES] = "";

	o.state = state;
	if (state == HAUL__STATE__STATE_ENDED)
		tree_ended(w->journal, ended);
	o.ended = ended;
	return wire_say(ch, HAUL__MSG__BODY_OUTCOME, &o, deadline_in_ms(SAY_LIMIT_MS), e);
}

/* ---- what is missing ---- */

struct list {
	struct wrk *w;
	struct err *e;
	uint64_t obj;
	struct class_runs runs;
};

static int say_missing(struct list *l, bool last)
{
	Haul__Missing m = HAUL__MISSING__INIT;
	int r = class_runs_pack(&l->runs, &m.runs.data, &m.runs.len);

	if (r < 0)
		return err_set(l->e, ERR_SYS, -r, "no memory to say what is missing");
	m.obj = l->obj;
	m.last = last;
	r = wrk_say(l->w, HAUL__MSG__BODY_MISSING, &m, l->e);
	free(m.runs.data);
	class_runs_fini(&l->runs);
	return r;
}

static int list_run(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct list *l = arg;
	const struct class_runs *runs = &l->runs;
	/* a message is about one object, and ascending: a fork may miss earlier pages */
	bool other = runs->n && (obj != l->obj || vaddr < runs->v[runs->n - 1].vaddr ||
	                         runs->n >= RUNS_A_MESSAGE);
	int r = other ? say_missing(l, false) : 0;

	l->obj = obj;
	if (r)
		return r;
	if (class_runs_add(&l->runs, vaddr, pages, PC_LAZY_REMOTE) < 0)
		r = err_set(l->e, ERR_SYS, ENOMEM, "no memory to say what is missing");
	return r;
}

static int list_missing(struct wrk *w, struct err *e)
{
	struct list l = { .w = w, .e = e };
	int r = pager_missing(w->pager, list_run, &l);

	if (r == 0)
		r = say_missing(&l, true);
	class_runs_fini(&l.runs);
	return r;
}

/* ---- taking over ---- */

/* Ends the old connections. Return: the state in which that leaves the migration */
static enum wrk_state end_old(struct wrk *w, const struct stream *t)
{
	uint64_t deadline = deadline_in_ms(UNDO_LIMIT_MS);
	int r = 0;

	/* before the commit the worker takes this for an ABORT */
	if (w->ctl)
		chan_cancel(w->ctl);
	pthread_mutex_lock(&w->lock);
	while (r == 0 && !wrk_committed(w) && wrk_at(w)->state != WRK_UNDONE)
		r = wrk_wait(w, deadline);
	enum wrk_state s = wrk_at(w)->state;

	pthread_mutex_unlock(&w->lock);
	if (wrk_committed(w))
		streams_drop(w, t);
	return s;
}

static void take_ctl(struct stream *t, unsigned int streams)
{
	struct wrk *w = t->w;

	pthread_mutex_lock(&w->ctl_lock);
	struct chan *old = w->ctl;

	pthread_mutex_lock(&w->lock);
	w->ctl = steal(t->ch);
	chan_go_first(w->ctl);
	w->streams.n_data = streams;
	w->failed = false;
	pthread_mutex_unlock(&w->lock);
	pthread_mutex_unlock(&w->ctl_lock);
	chan_free(old);
}

static int continue_filling(struct stream *t, unsigned int streams, struct err *e)
{
	struct wrk *w = t->w;
	int r = say_outcome(t->w, t->ch, HAUL__STATE__STATE_RUNNING, e);

	if (r < 0)
		return r;
	take_ctl(t, streams);
	r = streams_wait(w, deadline_in_ms(STREAMS_LIMIT_MS), e);
	if (r < 0)
		return r;
	r = list_missing(w, e);
	if (r < 0)
		return r;
	pager_ask_again(w->pager);
	return 0;
}

static int take_over(struct stream *t, unsigned int streams, struct err *e)
{
	switch (end_old(t->w, t)) {
	case WRK_RUNNING:
		return continue_filling(t, streams, e);
	case WRK_DONE:
		if (say_outcome(t->w, t->ch, HAUL__STATE__STATE_DONE, e) < 0)
			return -e->code;
		take_ctl(t, streams);
		return 0;
	case WRK_UNDONE:
		return say_outcome(t->w, t->ch, HAUL__STATE__STATE_UNDONE, e);
	case WRK_LOST:
		return say_outcome(t->w, t->ch, HAUL__STATE__STATE_LOST, e);
	case WRK_ENDED:
		return say_outcome(t->w, t->ch, HAUL__STATE__STATE_ENDED, e);
	default:
		return err_set(e, ERR_BUG, ETIMEDOUT, "state %s did not end", wrk_at(t->w)->name);
	}
}

int resume_run(struct stream *t, const Haul__Hello *h, struct err *e)
{
	struct wrk *w = t->w;

	if (h->streams == 0 || h->streams > AGENT_DATA_MAX)
		return err_set(e, ERR_PEER, EPROTO, "%u streams wanted, at most %d", h->streams,
		               AGENT_DATA_MAX);
	pthread_mutex_lock(&w->lock);
	bool busy = w->resuming;

	w->resuming = true;
	pthread_mutex_unlock(&w->lock);
	if (busy)
		return err_set(e, ERR_PEER, EBUSY, "another connection is taking over");
	log_info("the source is back");
	int r = take_over(t, h->streams, e);

	pthread_mutex_lock(&w->lock);
	w->resuming = false;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (r < 0)
		log_warn("the source came back, but: %s", e->msg);
	return r;
}
