// SPDX-License-Identifier: GPL-2.0-or-later
/* finish.c - the tree runs: wait until the last page is in place, and tell the source. */
#include "agent/worker/finish.h"

#include <unistd.h>

#include "agent/worker/huge.h"
#include "agent/worker/net.h"
#include "agent/worker/restore.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/page.h"
#include "transport/haul.pb-c.h"

#define PROGRESS_MS   250
#define BYE_LIMIT_MS  3000
#define TELL_EVERY_US 10000000

static void say_progress(struct wrk *w)
{
	Haul__Progress p = HAUL__PROGRESS__INIT;
	struct pager_stats st;
	struct err ignore = ERR_INIT;

	pager_get_stats(w->pager, &st);
	p.left_pages = st.left_pages;
	p.left_remote_pages = st.left_remote_pages;
	p.faults = st.faults;
	wrk_say(w, HAUL__MSG__BODY_PROGRESS, &p, &ignore);
}

static void say_drained(struct wrk *w)
{
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
	if (wrk_say(w, HAUL__MSG__BODY_DRAINED, &d, &e) < 0)
		log_warn("cannot tell the source that it is done: %s", e.msg);
}

/*
 * Before DRAINED is said, for the source then kills its copy. Until it can be recorded both sides
 * wait: if we died now, the previous record would answer, and that answer kills the tree.
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

void finish_fill(struct wrk *w)
{
	struct err e = ERR_INIT;
	int r;

	settle_begin(&w->settle);
	restore_finish(w);
	net_in_running(w);
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

void finish_bye(struct wrk *w)
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
