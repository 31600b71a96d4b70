// SPDX-License-Identifier: GPL-2.0-or-later
/* rounds.c - pre-copy: scan, send, measure, decide, until the decision is to stop. */
#include "hauler/hauler.h"

#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define MARK_LIMIT_MS 60000

/* The first round is looked at after so long, and so often, for pol_cut(). */
#define CUT_LOOK_US 500000

/* What a stop costs apart from pages: base, and per GiB, by the mode of the freeze. */
#define FREEZE_BASE_US 25000
#define SMAPS_GIB_US   2000
#define SCANS_GIB_US   12000
#define PUSH_GIB_US    110000
#define PAGES_PER_GIB  262144

struct emit_state {
	struct mig *m;
	struct err *e;
	uint64_t start_us, looked_us, pages;
	uint64_t start_bytes;
	bool cut;
};

int mem_fd(struct mig *m, pid_t pid, struct err *e)
{
	for (unsigned int i = 0; i < m->n_mem; i++)
		if (m->mem[i].pid == pid)
			return m->mem[i].fd;
	if (m->n_mem == ARRAY_SIZE(m->mem))
		return err_set(e, ERR_TARGET, EMFILE, "more than %zu processes in the tree",
		               ARRAY_SIZE(m->mem));
	int fd = mem_open(pid, e);

	if (fd >= 0)
		m->mem[m->n_mem++] = (struct task_mem){ pid, fd };
	return fd;
}

void mem_close_all(struct mig *m)
{
	for (unsigned int i = 0; i < m->n_mem; i++)
		close(m->mem[i].fd);
	m->n_mem = 0;
}

/*
 * What the link carries is counted in memory, not in bytes on the wire: with
 * compression, zero pages and pages that need not be sent, the two are far apart.
 */
static uint64_t moved_bytes(struct mig *m)
{
	struct send_stats st;

	send_get_stats(m->send, &st);
	return st.pages * ENG_PAGE_BYTES;
}

/* In mid-round: how fast are pages sent, and is the rest of the round any use? */
static void look(struct emit_state *s)
{
	struct mig *m = s->m;
	uint64_t now = now_us();

	if (now - s->looked_us < CUT_LOOK_US)
		return;
	s->looked_us = now;
	m->pol.link_Bps = (double)(moved_bytes(m) - s->start_bytes) * 1e6 /
	                  (double)(now - s->start_us);
	rep_progress(m, false);
	s->cut = pol_cut(&m->pol);
}

static int emit(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct emit_state *s = arg;
	struct err ignore = ERR_INIT;

	(void)vma;
	(void)flags;
	int fd = mem_fd(s->m, pid, &ignore);

	if (fd < 0)
		return 0; /* it has gone, or it will travel in the freeze */
	s->pages += pages;
	int r = send_pages(s->m->send, SEND_CHANGED, pid, fd, vaddr, pages, s->e);

	if (r == 0)
		look(s);
	return r < 0 ? r : s->cut ? -EAGAIN : 0;
}

static int count(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                 unsigned int flags)
{
	(void)pid;
	(void)vma;
	(void)vaddr;
	if ((flags & TRK_DIRTY) && !(flags & (TRK_ZERO | TRK_FILE)))
		*(uint64_t *)arg += pages;
	return 0;
}

static int barrier(struct mig *m, struct err *e)
{
	uint64_t deadline = deadline_in_ms(MARK_LIMIT_MS);
	int r = send_barrier(m->send, ++m->mark, deadline, e);

	return r < 0 ? r : talk_marked(m, m->mark, deadline, e);
}

static int one_round(struct mig *m, bool *cut, struct err *e)
{
	uint64_t t0 = now_us(), moved0 = moved_bytes(m);
	struct emit_state s = {
		.m = m, .e = e, .start_us = t0, .looked_us = t0, .start_bytes = moved0
	};
	struct err scan = ERR_INIT;
	int r = trk_round(m->trk, emit, &s, &m->trk_stats, &scan);

	if (r < 0 && s.cut)
		r = 0;
	if (r < 0 && e->src == ERR_NONE)
		*e = scan;
	if (r == 0)
		r = barrier(m, e);
	mem_close_all(m);
	if (r < 0)
		return r;
	uint64_t us = now_us() - t0, bytes = moved_bytes(m) - moved0;

	m->pol.sum_pages += s.pages;
	m->pol.round_pages = s.pages;
	m->pol.round_us = us;
	if (m->pol.round == 0)
		m->pol.total_pages = s.pages;
	/* a round that is too short to fill the pipe says nothing of the link */
	if (bytes > (4u << 20) || m->pol.link_Bps == 0)
		m->pol.link_Bps = (double)bytes * 1e6 / (double)us;
	m->pol.round++;
	*cut = s.cut;
	return 0;
}

/* Pages written while the last round ran; a look without re-arming anything. */
static int measure_dirty(struct mig *m, uint64_t since_us, struct err *e)
{
	uint64_t dirty = 0;
	struct trk_stats st = { 0 };
	int r = trk_final(m->trk, count, &dirty, &st, e);
	uint64_t us = now_us() - since_us;

	if (r == 0 && us)
		m->pol.dirty_pages_ps = (double)dirty * 1e6 / (double)us;
	return r;
}

static void rounds_start(struct mig *m)
{
	uint64_t gib_us = !m->scans ? PUSH_GIB_US : !m->smaps ? SCANS_GIB_US : SMAPS_GIB_US;

	m->pol.mode = (enum pol_mode)m->opt->mode;
	m->pol.downtime_limit_us = (uint64_t)m->opt->downtime_limit_ms * 1000;
	m->pol.max_rounds = m->opt->max_rounds;
	m->pol.total_pages = m->rss_bytes / ENG_PAGE_BYTES;
	m->pol.freeze_us = FREEZE_BASE_US + m->pol.total_pages * gib_us / PAGES_PER_GIB;
}

int rounds_run(struct mig *m, struct err *e)
{
	int r = 0;

	rounds_start(m);
	for (;;) {
		bool cut = false;

		m->answer = pol_decide(&m->pol);
		if (m->trk_kind == TRK_NONE)
			m->answer.verdict = m->opt->mode == POL_POST_COPY ? POL_SWITCH : POL_FINISH;
		if (m->pol.round)
			rep_round(m, false);
		if (m->answer.verdict != POL_ROUND)
			break;
		uint64_t t0 = now_us();

		r = one_round(m, &cut, e);
		if (r == 0)
			r = measure_dirty(m, t0, e);
		if (r < 0)
			break;
		if (cut) {
			m->answer = (struct pol_answer){ POL_SWITCH, m->pol.total_pages, 0,
				                         "pages are written faster than the link "
				                         "carries them" };
			rep_round(m, false);
			break;
		}
	}
	m->rounds = m->pol.round;
	m->switch_over = m->answer.verdict == POL_SWITCH;
	if (r < 0)
		talk_reason(m, e);
	return r;
}

void rounds_undo(struct mig *m)
{
	if (m->send)
		send_cancel(m->send);
	if (m->trk)
		trk_release(m->trk);
	mem_close_all(m);
}
