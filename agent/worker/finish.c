// SPDX-License-Identifier: GPL-2.0-or-later
/* finish.c - the tree runs: until the last page is in place, and the source has heard it. */
#include <unistd.h>

#include "agent/mig/mig.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "transport/haul.pb-c.h"

#define PROGRESS_MS   250
#define BYE_LIMIT_MS  3000
#define TELL_EVERY_US 10000000

static void say_progress(struct wrk *w)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Progress p = HAUL__PROGRESS__INIT;
	struct pager_stats st;
	struct err ignore = ERR_INIT;

	pager_get_stats(w->pager, &st);
	p.left_pages = st.left_pages;
	p.left_remote_pages = st.left_remote_pages;
	p.faults = st.faults;
	out.body_case = HAUL__MSG__BODY_PROGRESS;
	out.progress = &p;
	wrk_say(w, &out, &ignore);
}

static void say_drained(struct wrk *w)
{
	Haul__Msg out = HAUL__MSG__INIT;
	Haul__Drained d = HAUL__DRAINED__INIT;
	struct pager_stats st;
	struct err e = ERR_INIT;

	pager_get_stats(w->pager, &st);
	d.lazy_pages = st.lazy_pages;
	d.faults = st.faults;
	d.faults_remote = st.faults_remote;
	d.fault_p50_us = st.fault_p50_us;
	d.fault_p99_us = st.fault_p99_us;
	d.fault_max_us = st.fault_max_us;
	d.fault_n = st.fault_n;
	d.n_fault_n = ARRAY_SIZE(st.fault_n);
	d.store_peak_bytes = store_peak_pages(w->store) * PAGE_BYTES;
	out.body_case = HAUL__MSG__BODY_DRAINED;
	out.drained = &d;
	if (wrk_say(w, &out, &e) < 0)
		log_warn("the source does not hear that it is done: %s", e.msg);
}

/*
 * Before DRAINED is said: at that word the source ends its copy. Until it can be recorded both
 * sides wait: who asks when we are dead is answered from the record before, which kills the tree.
 */
static void record_done(struct wrk *w)
{
	struct err e = ERR_INIT;
	uint64_t told_us = 0;

	while (journal_add(w->journal, &e, "done", "%s", "") < 0) {
		if (now_us() - told_us > TELL_EVERY_US) {
			log_err("%s; the source keeps its copy until it can be recorded", e.msg);
			told_us = now_us();
		}
		err_clear(&e);
		usleep(PROGRESS_MS * 1000);
		say_progress(w);
	}
}

/*
 * Until the last page is in place. If the source is gone before that, the threads
 * that need a missing page wait; the others go on. We never end before, because
 * closing the userfaultfds would let them read zeros.
 */
void lst_fill(struct wrk *w)
{
	struct err e = ERR_INIT;
	int r;

	settle_begin(&w->settle);
	rst_finish(w);
	anet_running(w);
	pager_settled(w->pager);
	store_sweep(w->store);
	while ((r = pager_wait(w->pager, deadline_in_ms(PROGRESS_MS), &e)) == -ETIMEDOUT) {
		err_clear(&e);
		say_progress(w);
	}
	if (r < 0) {
		log_err("the pager has stopped: %s; the tree waits for its pages", e.msg);
		for (;;)
			pause();
	}
	while (!settle_is_over(&w->settle)) {
		usleep(PROGRESS_MS * 100);
		say_progress(w);
	}
	fault_at(FAULT_D_FILLED);
	record_done(w);
	fault_at(FAULT_D_DONE_RECORDED);
	say_drained(w);
	fault_at(FAULT_D_DRAINED);
	log_info("every page is in place");
	huge_again(w);
}

/*
 * The source says BYE when it has ended its copy. One whose link broke before it heard
 * that all is in place will ask, and be answered from the journal.
 */
void lst_bye(struct wrk *w)
{
	uint64_t deadline = deadline_in_ms(BYE_LIMIT_MS);
	bool heard = false;

	while (!heard && now_us() < deadline) {
		Haul__Msg *bye = NULL;
		struct err e = ERR_INIT;

		pthread_mutex_lock(&w->ctl_lock);
		int r = w->ctl ? wire_recv(w->ctl, &bye, deadline_in_ms(PROGRESS_MS), &e)
		               : -ENOTCONN;

		pthread_mutex_unlock(&w->ctl_lock);
		heard = r == 0 && bye->body_case == HAUL__MSG__BODY_BYE;
		w->nobody_asks = heard;
		if (bye)
			haul__msg__free_unpacked(bye, NULL);
		if (r < 0 && r != -ETIMEDOUT)
			return;
	}
}
