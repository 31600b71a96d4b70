// SPDX-License-Identifier: GPL-2.0-or-later
/* mig.c - what a migration knows about itself: locks, whether it is stopped, deadlines, sums. */
#include "hauler/mig/mig.h"

#include "common/clock.h"

static const struct state_facts in_new = { .name = "new", .home = HOME_SOURCE };

void mig_init(struct mig *m)
{
	m->at = &in_new;
	pthread_mutex_init(&m->halt.lock, NULL);
	pthread_mutex_init(&m->link.lock, NULL);
	pthread_mutex_init(&m->rest.lock, NULL);
	pthread_mutex_init(&m->dump.lock, NULL);
	m->dump.images_fd = m->copy.starter = m->unit.lock = -1;
}

bool mig_well(const struct mig *m)
{
	return m->state == MIG_DONE || (m->state == MIG_UNDONE && m->kept);
}

bool mig_stopped(struct mig *m)
{
	pthread_mutex_lock(&m->halt.lock);
	bool is = m->halt.stop;

	pthread_mutex_unlock(&m->halt.lock);
	return is;
}

int mig_unless_stopped(struct mig *m, struct err *e)
{
	return mig_stopped(m) ? err_set(e, ERR_STOPPED, ECANCELED, "stopped") : 0;
}

struct freeze_max mig_freeze_max(const struct mig *m)
{
	const struct pol_options *o = &m->opt->pol.v;

	return o->downtime_max_ms && o->downtime_max_ms < o->freeze_limit_ms
	               ? (struct freeze_max){ "downtime-max-ms", o->downtime_max_ms }
	               : (struct freeze_max){ "freeze-limit-ms", o->freeze_limit_ms };
}

uint64_t mig_freeze_end(const struct mig *m)
{
	return m->fig.t.freeze_us + (uint64_t)mig_freeze_max(m).ms * 1000;
}

uint64_t mig_deadline(const struct mig *m)
{
	/* other threads ask, too */
	if (__atomic_load_n(&m->at, __ATOMIC_RELAXED)->frozen && m->fig.t.freeze_us)
		return mig_freeze_end(m);
	return deadline_in_ms(30000);
}

void mig_send_stats(const struct mig *m, struct send_stats *out)
{
	struct send_stats st = { 0 }, sum = m->fig.sent_stats;

	if (m->pages.send)
		send_get_stats(m->pages.send, &st);
	sum.pages += st.pages;
	sum.data_pages += st.data_pages;
	sum.zero_pages += st.zero_pages;
	sum.same_pages += st.same_pages;
	sum.shared_pages += st.shared_pages;
	sum.gone_pages += st.gone_pages;
	sum.wire_bytes += st.wire_bytes;
	sum.packed_frames += st.packed_frames;
	sum.frames += st.frames;
	*out = sum;
}

bool mig_link_lost(struct link *l, const struct err *why)
{
	pthread_mutex_lock(&l->lock);
	bool first = !l->lost;

	if (first)
		l->why = *why;
	l->lost = true;
	pthread_mutex_unlock(&l->lock);
	return first;
}

bool mig_link_reason(struct link *l, struct err *e)
{
	pthread_mutex_lock(&l->lock);
	bool lost = l->lost;

	if (lost)
		*e = l->why;
	pthread_mutex_unlock(&l->lock);
	return lost;
}
