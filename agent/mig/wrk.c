// SPDX-License-Identifier: GPL-2.0-or-later
/* wrk.c - what all parts of a worker need: which state it is in, and talking to the source. */
#include "agent/mig/mig.h"

#include "agent/mig/refuse.h"
#include "common/clock.h"
#include "common/log.h"

#define SEND_LIMIT_MS 10000

const struct wrk_facts *wrk_at(const struct wrk *w)
{
	return __atomic_load_n(&w->at, __ATOMIC_ACQUIRE);
}

bool wrk_committed(const struct wrk *w)
{
	return wrk_at(w)->fails != WRK_UNDONE;
}

int wrk_wait(struct wrk *w, uint64_t deadline_us)
{
	struct timespec t = { .tv_sec = (time_t)(deadline_us / 1000000),
		              .tv_nsec = (long)(deadline_us % 1000000) * 1000 };

	return pthread_cond_timedwait(&w->changed, &w->lock, &t);
}

int wrk_say(struct wrk *w, int kind, const void *body, struct err *e)
{
	pthread_mutex_lock(&w->ctl_lock);
	int r = w->ctl ? wire_say(w->ctl, kind, body, deadline_in_ms(SEND_LIMIT_MS), e)
	               : err_set(e, ERR_LINK, ENOTCONN, "the source has not come back");

	pthread_mutex_unlock(&w->ctl_lock);
	return r;
}

void wrk_say_abort(struct wrk *w, const struct err *why, bool end)
{
	pthread_mutex_lock(&w->ctl_lock);
	if (w->ctl)
		refuse_peer(w->ctl, why);
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
	if (first)
		wrk_say_abort(w, why, true);
}

bool wrk_has_failed(struct wrk *w, struct err *why)
{
	pthread_mutex_lock(&w->lock);
	bool failed = w->failed;

	if (failed)
		*why = w->err;
	pthread_mutex_unlock(&w->lock);
	return failed;
}
