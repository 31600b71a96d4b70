// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rounds.c - pre-copy: scan, send, count what is written meanwhile, decide, until the decision is
 * to stop.
 *
 * A scan re-arms the tracker and only lists what was written. While the list is sent the tracker is
 * looked at now and then: pages that were written again before their turn are left for the next
 * round. Pages that a round did not send because it was cut short are forgotten, so that they count
 * as never sent.
 */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/proc/inner.h"
#include "hauler/pages/page_list.h"
#include "hauler/report/costs.h"
#include "hauler/report/report.h"

#define MARK_LIMIT_MS 60000

/* Pages queued between two checks of the clock. */
#define PIECE_PAGES 512u

/* Looks are further and further apart, and cost at most a twentieth of the time. */
#define LOOK_MIN_US 20000
#define LOOK_MAX_US 250000
#define LOOK_COST   20

/* A round smaller and shorter than this never fills the pipe, so it says nothing about bandwidth. */
#define LINK_FULL_BYTES (4u << 20)
#define LINK_SURE_US    500000

/* In post-copy: as many pages of shared memory are not worth a round. */
#define SHARED_FEW_PAGES 1024

/* If the file pass takes longer than this, run another round first, at most FILES_TRIES times. */
#define FILES_LATE_US 100000
#define FILES_TRIES   3

/* A round under way. */
struct round {
	struct mig *m;
	struct page_list todo, again; /* again: written since the scan */
	uint64_t scan_us, look_us, moved; /* times; bytes moved before it */
	uint64_t pages, done_pages, queued_pages; /* done: queued or left out */
	uint64_t written, present; /* by the last look */
	uint64_t shared; /* of the written ones: shared memory */
	double link_Bps; /* known before it */
	size_t next; /* position: object in the list, and address */
	uint64_t next_vaddr;
	bool cut, arrived;
	bool shared_only; /* private memory goes after the switch */
};

/* ---- what is measured ---- */

/* Of memory, not of bytes on the wire: with zero pages and pages that need not be sent they differ widely. */
static uint64_t moved_bytes(struct mig *m)
{
	struct send_stats st;

	send_get_stats(m->pages.send, &st);
	return st.pages * PAGE_BYTES;
}

static int listed(struct round *r, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	r->pages += pages;
	if (r->m->precopy.decision.round > 0) /* the first scan lists everything */
		sent_wrote(r->m->pages.sent, obj, vaddr, pages, r->m->precopy.decision.round);
	return page_list_add(&r->todo, obj, vaddr, pages);
}

static int listed_task(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                       unsigned int flags)
{
	const struct round *r = arg;

	(void)vma;
	(void)flags;
	return r->shared_only ? 0 : listed(arg, inner_obj(pid), vaddr, pages);
}

static int listed_object(void *arg, uint64_t obj, uint64_t at, uint64_t pages, unsigned int flags)
{
	return flags ? listed(arg, obj, at, pages) : 0;
}

static int seen(struct round *r, uint64_t obj, uint64_t vaddr, uint64_t pages, unsigned int flags)
{
	if (flags & (TRACKER_ZERO | TRACKER_FILE))
		return 0;
	r->present += pages;
	if (!(flags & TRACKER_DIRTY))
		return 0;
	r->written += pages;
	r->shared += obj_is_shmem(obj) ? pages : 0;
	return page_list_add(&r->again, obj, vaddr, pages);
}

static int seen_task(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                     unsigned int flags)
{
	struct round *r = arg;

	(void)vma;
	if (!r->shared_only)
		return seen(arg, inner_obj(pid), vaddr, pages, flags);
	if (!(flags & (TRACKER_ZERO | TRACKER_FILE))) { /* all of it is still here */
		r->present += pages;
		r->written += pages;
	}
	return 0;
}

static int seen_object(void *arg, uint64_t obj, uint64_t at, uint64_t pages, unsigned int flags)
{
	return seen(arg, obj, at, pages, flags);
}

/* Number of pages of @l from @from on that are not in @again. */
static uint64_t not_again(const struct runs *l, const struct runs *again, uint64_t from)
{
	uint64_t n = 0;

	for (size_t i = runs_find(l, from), k = 0; i < l->n; i++) {
		uint64_t at = l->v[i].vaddr > from ? l->v[i].vaddr : from;
		uint64_t end = l->v[i].vaddr + l->v[i].pages * PAGE_BYTES;

		if (at >= end)
			continue;
		n += (end - at) >> PAGE_BITS;
		k = again ? runs_find(again, at) : 0;
		for (; again && k < again->n && again->v[k].vaddr < end; k++) {
			uint64_t a = again->v[k].vaddr > at ? again->v[k].vaddr : at;
			uint64_t b = again->v[k].vaddr + again->v[k].pages * PAGE_BYTES;

			n -= ((b < end ? b : end) - a) >> PAGE_BITS;
		}
	}
	return n;
}

/* Number of pages that the round still has to send, by the last look. @shared: of shared memory only */
static uint64_t unsent(const struct round *r, bool shared)
{
	uint64_t n = 0;

	for (size_t i = r->next; i < r->todo.n; i++)
		if (!shared || obj_is_shmem(r->todo.v[i].obj))
			n += not_again(&r->todo.v[i].runs,
			               page_list_of(&r->again, r->todo.v[i].obj),
			               i == r->next ? r->next_vaddr : 0);
	return n;
}

/* Approximate number of runs left to send; runs on both lists count twice. */
static uint64_t left_runs(const struct round *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->again.n; i++)
		n += r->again.v[i].runs.n;
	for (size_t i = r->next; i < r->todo.n; i++) {
		const struct runs *l = &r->todo.v[i].runs;

		n += l->n - (i == r->next ? runs_find(l, r->next_vaddr) : 0);
	}
	return n;
}

/* A short round says little about the link, so earlier ones count as well. */
static double link_now(const struct round *r, double Bps, uint64_t us)
{
	double weight = us < LINK_SURE_US ? (double)us / LINK_SURE_US : 1;

	return r->link_Bps > 0 ? r->link_Bps + weight * (Bps - r->link_Bps) : Bps;
}

/* Count what was written since the scan, without re-arming, and decide again. */
static int look(struct round *r, struct err *e)
{
	struct mig *m = r->m;
	struct tracker_stats st = { 0 };
	uint64_t t0 = now_us(), link_us = t0 - r->scan_us, moved = moved_bytes(m) - r->moved;
	double Bps = (double)moved * 1e6 / (double)(link_us + 1);

	throttle_check(m);
	page_list_fini(&r->again);
	r->written = r->present = r->shared = 0;
	int x = tracker_final(m->precopy.trk, seen_task, r, &st, e);

	x = x < 0 ? x : tracker_objects(m->precopy.trk, seen_object, r, e);
	if (x < 0)
		return x;
	uint64_t now = now_us(), us = now - r->scan_us;
	uint64_t sent = (moved_bytes(m) - r->moved) / PAGE_BYTES;
	uint64_t gap = us / 4;

	if (gap < LOOK_MIN_US)
		gap = LOOK_MIN_US;
	if (gap > LOOK_MAX_US)
		gap = LOOK_MAX_US;
	if (gap < LOOK_COST * (now - t0))
		gap = LOOK_COST * (now - t0);
	r->look_us = now + gap;
	pol_wrote(&m->precopy.decision, us, r->written);
	m->precopy.decision.elapsed_us = now - m->fig.t.start_us;
	m->precopy.decision.written_pages = r->written;
	m->precopy.decision.left_runs = left_runs(r);
	m->precopy.decision.total_pages = r->present;
	/* what is queued is not sent */
	m->precopy.decision.eager_pages = r->shared + unsent(r, true);
	m->precopy.decision.unsent_pages = unsent(r, false);
	m->precopy.decision.unsent_pages += r->queued_pages > sent ? r->queued_pages - sent : 0;
	if (moved > LINK_FULL_BYTES || link_us > LINK_SURE_US)
		m->precopy.decision.link_Bps = link_now(r, Bps, link_us);
	if (r->arrived && Bps > m->precopy.decision.link_least_Bps)
		m->precopy.decision.link_least_Bps = Bps;
	return 0;
}

/* ---- one round ---- */

/* The tracker does not know that these pages were not sent as they are now. */
static void forget(struct round *r, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	sent_forget(r->m->pages.sent, obj, vaddr, pages);
}

/* What to read it from. Return: -errno: it is gone, or is sent in the freeze */
static int open_object(struct mig *m, uint64_t obj)
{
	struct err ignore = ERR_INIT;

	return obj_is_shmem(obj) ? tracker_object_fd(m->precopy.trk, obj)
	                         : memfd_get(m, inner_outer((pid_t)obj_id(obj)), &ignore);
}

/*
 * Leave out what the last look found written again, and forget it: with soft-dirty bits a page that
 * was swapped out for that look may be back in its frame, and clean, by the next scan.
 */
static int send_run(struct round *r, uint64_t obj, int fd, uint64_t vaddr, uint64_t pages,
                    struct err *e)
{
	const struct runs *again = page_list_of(&r->again, obj);
	uint64_t end = vaddr + pages * PAGE_BYTES;
	int x = 0;

	r->done_pages += pages;
	while (x == 0 && vaddr < end) {
		size_t i = again ? runs_find(again, vaddr) : 0;
		uint64_t stop = end;

		if (again && i < again->n && again->v[i].vaddr <= vaddr) {
			stop = again->v[i].vaddr + again->v[i].pages * PAGE_BYTES;
			stop = stop < end ? stop : end;
			forget(r, obj, vaddr, (stop - vaddr) >> PAGE_BITS);
			vaddr = stop;
			continue;
		}
		if (again && i < again->n && again->v[i].vaddr < end)
			stop = again->v[i].vaddr;
		uint64_t n = (stop - vaddr) >> PAGE_BITS;

		x = send_pages(r->m->pages.send, SEND_CHANGED, obj, fd, vaddr, n, e);
		r->queued_pages += n;
		vaddr = stop;
	}
	return x;
}

/* Return: continue with rounds? */
static bool decide(struct mig *m)
{
	m->precopy.answer = pol_decide(&m->precopy.decision);
	if (m->precopy.answer.verdict == POL_THROTTLE)
		throttle_more(m);
	return m->precopy.answer.verdict == POL_ROUND || m->precopy.answer.verdict == POL_THROTTLE;
}

/* Queue the list of one object piece by piece; when the round is cut short forget the rest. */
static int send_list(struct round *r, const struct page_list_part *l, struct err *e)
{
	struct mig *m = r->m;
	int fd = open_object(m, l->obj), x = 0;

	for (size_t i = 0; x == 0 && i < l->runs.n; i++)
		for (uint64_t vaddr = l->runs.v[i].vaddr, left = l->runs.v[i].pages;
		     x == 0 && left;) {
			uint64_t n = left < PIECE_PAGES ? left : PIECE_PAGES;

			if (r->cut || fd < 0) { /* it has exited, or it is sent in the freeze */
				forget(r, l->obj, vaddr, left);
				break;
			}
			x = send_run(r, l->obj, fd, vaddr, n, e);
			r->next_vaddr = vaddr += n * PAGE_BYTES;
			left -= n;
			if (x < 0 || now_us() < r->look_us)
				continue;
			x = look(r, e);
			r->cut = !decide(m) && !r->shared_only;
			report_progress(m, false);
		}
	return x;
}

/*
 * No limit on the time: the queue may be long for this link. But a link on which nothing moves is
 * given up.
 */
static int barrier(struct mig *m, struct err *e)
{
	int r = send_barrier(m->pages.send, ++m->pages.mark, DEADLINE_NEVER, e);

	while (r == 0) {
		uint64_t was = send_unacked(m->pages.send);

		throttle_check(m);
		r = talk_marked(m, m->pages.mark, deadline_in_ms(MARK_LIMIT_MS), e);
		if (r == 0 || e->src != ERR_LINK || e->code != ETIMEDOUT ||
		    send_unacked(m->pages.send) == was)
			break;
		err_clear(e);
		r = 0;
	}
	return r;
}

/* Of what processes share since a fork each page is sent once. */
static void tell_kin(struct round *r)
{
	AUTO(mem) pid_t *pid = calloc(r->todo.n + 1, sizeof(*pid));
	size_t n = 0;

	for (size_t i = 0; pid && i < r->todo.n; i++)
		if (obj_is_task(r->todo.v[i].obj))
			pid[n++] = (pid_t)obj_id(r->todo.v[i].obj);
	if (pid)
		send_kin(r->m->pages.send, pid, n, r->m->pages.same_runs);
}

static int copy(struct round *r, struct err *e)
{
	struct mig *m = r->m;
	int x = tracker_round(m->precopy.trk, listed_task, r, &m->fig.tracker_stats, e);

	x = x < 0 ? x : tracker_objects(m->precopy.trk, listed_object, r, e);
	tell_kin(r);
	r->scan_us = now_us();
	r->look_us = r->scan_us + LOOK_MIN_US;
	r->moved = moved_bytes(m);
	r->link_Bps = m->precopy.decision.link_Bps;
	m->precopy.decision.in_round = true;
	m->precopy.decision.curve.n = 0;
	m->precopy.decision.skew_us = 0;
	if (m->precopy.decision.round == 0)
		m->precopy.decision.total_pages = r->pages;
	for (size_t i = 0; x == 0 && i < r->todo.n; i++) {
		if (!r->cut) {
			r->next = i;
			r->next_vaddr = 0;
		}
		x = send_list(r, &r->todo.v[i], e);
	}
	if (!r->cut)
		r->next = r->todo.n;
	return x;
}

static int one_round(struct mig *m, bool shared_only, bool *cut, struct err *e)
{
	struct round r = { .m = m, .shared_only = shared_only };
	uint64_t t0 = now_us();
	int x = copy(&r, e);

	if (x == 0)
		x = barrier(m, e);
	r.arrived = true;
	if (x == 0)
		x = look(&r, e);
	if (x == 0) { /* otherwise the streams may still read; run_fini() closes them */
		memfd_close_all(m);
		m->fig.round_pages = r.cut ? r.done_pages : r.pages;
		m->fig.round_us = now_us() - t0;
		m->precopy.decision.round_base_us = m->fig.tracker_stats.scan_us + m->fig.t.rtt_us;
	}
	if (x == 0 && !r.cut) {
		struct pol_round p = { .us = m->fig.round_us,
			               .pages = r.pages,
			               .left_pages = r.written };

		pol_round_done(&m->precopy.decision, &p);
	}
	*cut = r.cut;
	page_list_fini(&r.todo);
	page_list_fini(&r.again);
	return x;
}

/* ---- all rounds ---- */

static void rounds_start(struct mig *m)
{
	m->precopy.freeze_how = !m->dump.scans   ? POL_FREEZE_PUSH
	                        : !m->dump.smaps ? POL_FREEZE_SCANS
	                                         : POL_FREEZE_SMAPS;
	struct pol_size z = { .how = m->precopy.freeze_how, .costs = &m->precopy.costs };

	costs_load(&m->precopy.costs, m->opt->dest);
	inspect_size(m->insp, &z);
	throttle_limits(m, false);
	send_tracker(m->pages.send, m->precopy.trk);
	m->precopy.decision.opt = &m->opt->pol.v;
	m->precopy.decision.total_pages = m->precopy.decision.written_pages = z.pages +
	                                                                      z.shared_pages;
	m->precopy.decision.eager_pages = z.shared_pages;
	m->precopy.decision.fixed_pages = z.fixed_pages;
	m->precopy.decision.freeze_us = pol_freeze_us(&z);
	m->precopy.decision.elapsed_us = now_us() - m->fig.t.start_us;
	if (m->precopy.decision.opt->throttle_max_percent)
		m->precopy.cpu_us = procs_cpu_us(m->opt->pid);
	m->precopy.cpu_at_us = now_us();
}

static int given_up(struct mig *m, struct err *e)
{
	err_set(e, ERR_USER, EBUSY, "given up: %s (stop now: %.0f ms, post-copy: %.1f s)",
	        m->precopy.answer.why, (double)m->precopy.answer.downtime_us / 1e3,
	        (double)m->precopy.answer.degraded_us / 1e6);
	if (m->precopy.decision.no_rounds)
		err_fix(e, "without a tracker the bandwidth is not measured, and 100 Mbit/s are "
		           "assumed: raise the limits, or use --mode=post-copy");
	return err_fix(
	        e,
	        "try again when the program writes less (haul watch %d), or with another --policy",
	        m->opt->pid);
}

/*
 * Before a stop, while pages are still being written: if this takes long the decision is made
 * again. Files that are open for writing are read again in the freeze; this tells how long that
 * takes.
 */
static int files_first(struct mig *m, uint64_t freeze_us, bool *late, struct err *e)
{
	uint64_t t0 = now_us();
	int r = capture_land(m, e) < 0 || bring_files(m, false, e) < 0 || dirs_settle(m, e) < 0
	                ? err_code(e)
	                : 0;

	m->precopy.decision.freeze_us = freeze_us + m->fig.ship_us;
	m->precopy.decision.elapsed_us = now_us() - m->fig.t.start_us;
	*late = now_us() - t0 > FILES_LATE_US;
	return r;
}

/* How a round ended. */
enum round_end {
	ROUND_WHOLE, /* all pages of its list were sent, or left for the next round */
	ROUND_CUT, /* cut short: the decision was to stop the program */
	ROUND_FAILED,
};

static enum round_end run_round(struct mig *m, bool shared_only, struct err *e)
{
	bool cut = false;

	if (one_round(m, shared_only, &cut, e) < 0)
		return ROUND_FAILED;
	return cut ? ROUND_CUT : ROUND_WHOLE;
}

/*
 * Run rounds until another one would not help. @last: in: how the previous round ended, out: the
 * last one. A report precedes each decision but the first.
 */
static enum round_end copy_until_it_stops_helping(struct mig *m, enum round_end last, struct err *e)
{
	while (last == ROUND_WHOLE && decide(m)) {
		if (m->precopy.decision.round)
			report_round(m);
		last = run_round(m, false, e);
	}
	if (last != ROUND_FAILED && (m->precopy.decision.round || last == ROUND_CUT))
		report_round(m);
	return last;
}

/*
 * In post-copy private memory goes after the switch; shared memory has to be there at it, so it goes in rounds of its
 * own before, as long as each leaves less than half.
 */
static enum round_end shared_first(struct mig *m, struct err *e)
{
	const struct pol_state *d = &m->precopy.decision;
	enum round_end last = ROUND_WHOLE;
	uint64_t was = UINT64_MAX;

	if (m->opt->pol.v.mode != POL_POST_COPY || d->no_rounds)
		return last;
	while (last == ROUND_WHOLE && d->eager_pages > SHARED_FEW_PAGES &&
	       d->eager_pages < was / 2 && d->round < m->opt->pol.v.max_rounds) {
		was = d->eager_pages;
		last = run_round(m, true, e);
	}
	return last;
}

/*
 * Send the files that are open for writing. If that takes long, pages are written meanwhile, and
 * another round runs first, at most FILES_TRIES times.
 */
static enum round_end settle_files(struct mig *m, enum round_end last, struct err *e)
{
	const struct pol_state *d = &m->precopy.decision;
	uint64_t freeze_us = d->freeze_us;
	unsigned int tries = 0;

	while (last != ROUND_FAILED && m->precopy.answer.verdict != POL_GIVE_UP) {
		bool late;

		if (files_first(m, freeze_us, &late, e) < 0)
			return ROUND_FAILED;
		if (last == ROUND_CUT)
			break;
		tries += late;
		/* settled: only the time that the files take in the stop may change the decision */
		if (!late || tries >= FILES_TRIES || !d->round ||
		    d->round >= m->opt->pol.v.max_rounds) {
			bool more = decide(m);

			if (d->round && (more || m->precopy.answer.verdict == POL_GIVE_UP))
				report_round(m);
			if (!more)
				break;
		}
		last = copy_until_it_stops_helping(m, run_round(m, false, e), e);
	}
	return last;
}

int rounds_run(struct mig *m, struct err *e)
{
	rounds_start(m);
	m->precopy.decision.no_rounds = m->precopy.tracker_kind == TRACKER_NONE;
	enum round_end last = copy_until_it_stops_helping(m, shared_first(m, e), e);

	last = settle_files(m, last, e);
	int r = last == ROUND_FAILED ? -e->code : 0;

	m->fig.rounds = m->precopy.decision.round + (last == ROUND_CUT);
	m->precopy.switch_over = m->precopy.answer.verdict == POL_SWITCH;
	if (r == 0 && m->precopy.answer.verdict == POL_GIVE_UP)
		r = given_up(m, e);
	if (r < 0)
		talk_reason(m, e);
	return r;
}

void rounds_undo(struct mig *m)
{
	throttle_free(m);
	if (m->pages.send)
		send_cancel(m->pages.send);
	if (m->precopy.trk)
		tracker_release(m->precopy.trk);
}
