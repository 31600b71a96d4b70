// SPDX-License-Identifier: GPL-2.0-or-later
/* freeze.c - stop the tree by CRIU, and resume it if the migration fails. */
#include "hauler/run/priv.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "engine/proc/inner.h"
#include "engine/proc/vforks.h"
#include "hauler/mig/sockets.h"
#include "hauler/rights/owner.h"

#define UNDO_LIMIT_MS   10000
#define GONE_LIMIT_MS   10000
#define STOP_TURN_MS    100
#define SETTLE_LIMIT_MS 3000
#define REASON_MS       200
#define VFORK_LIMIT_MS  1000

int freeze_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages)
{
	struct mig *m = arg;
	struct err e = ERR_INIT;
	int r = send_bytes(m->pages.send, obj, vaddr, data, pages, &e);

	if (r < 0)
		log_err("shared memory not sent: %s", e.msg);
	return r;
}

static int hold_task(struct mig *m, const struct img_task *t, struct err *e)
{
	struct img_core core = { 0 };
	struct held *h = &m->copy.held[m->copy.n_held];

	if (img_core(m->dump.images_fd, t->pid, &core, e) < 0)
		return -e->code;
	h->inner = t->pid;
	h->pid = inner_outer(t->pid);
	h->was_stopped = core.stopped;
	h->pidfd = h->pid ? (int)syscall(SYS_pidfd_open, h->pid, 0) : -1;
	if (h->pidfd < 0)
		return err_sys(e, "pidfd of %d", h->pid);
	m->copy.n_held++;
	return 0;
}

/* Tasks are known by pidfd from now on: a pid may be reused. */
static int hold(struct mig *m, struct err *e)
{
	struct img_tree tree = { 0 };
	int r = img_tree(m->dump.images_fd, &tree, e);

	if (r < 0)
		return r;
	m->copy.held = calloc(tree.n + 1, sizeof(*m->copy.held));
	if (!m->copy.held)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory");
	for (size_t i = 0; r == 0 && i < tree.n; i++)
		r = hold_task(m, &tree.v[i], e);
	m->fig.tasks = (unsigned int)tree.n;
	img_tree_fini(&tree);
	return r;
}

/* CRIU holds all threads by ptrace now: this SIGSTOP takes effect when CRIU lets them go. */
static int stop_held(struct mig *m, struct err *e)
{
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (!m->copy.held[i].was_stopped &&
		    syscall(SYS_pidfd_send_signal, m->copy.held[i].pidfd, SIGSTOP, NULL, 0) < 0 &&
		    errno != ESRCH)
			return err_sys(e, "stop process %d", m->copy.held[i].pid);
	return 0;
}

static int find_aio(struct mig *m, struct err *e)
{
	AUTO(procs) struct proc_list procs = { 0 };
	int r = procs_tree(m->opt->pid, &procs, e);

	return r ? r : direct_rings_find(&m->copy.rings, procs.pid, procs.n, e);
}

/* Native AIO continues while the tree is stopped. */
static int settle(struct mig *m, struct err *e)
{
	uint64_t deadline = deadline_in_ms(SETTLE_LIMIT_MS), last = mig_deadline(m);
	int r = find_aio(m, e);

	return r < 0 || !m->copy.rings
	               ? r
	               : direct_rings_settle(m->copy.rings, deadline < last ? deadline : last, e);
}

/* CRIU before 3.19 makes no call between "stopped" and "dumped". If this tree needs one, refuse. */
static int too_late(struct mig *m, struct err *e)
{
	int r = find_aio(m, e);
	const char *what = mnet_moves_tcp(m->net) ? "moving connections"
	                   : m->copy.rings        ? "a program that uses O_DIRECT by native AIO"
	                                          : NULL;

	if (r < 0 || !what)
		return r;
	err_set(e, ERR_CRIU, EOPNOTSUPP, "this CRIU does not say when the processes are stopped");
	return err_fix(e, "%s needs CRIU 3.19 or later: contrib/find-criu", what);
}

static int look_last(struct mig *m, struct err *e)
{
	return present_start(&m->dump.present, m, e);
}

/* CRIU clears the soft-dirty bits of each task that it has dumped */
static int look_first(struct mig *m, struct err *e)
{
	return freeze_mode_clean(m) ? present_wait(m->dump.present, &m->fig.t.look_us, e) : 0;
}

static int note_sockets(struct mig *m, struct err *e)
{
	sockets_free(steal(m->dump.sockets));
	return sockets_note(&m->dump.sockets, m->opt->pid, e);
}

static int note_sockets_to_lock(struct mig *m, struct err *e)
{
	return mnet_locks(m->net) ? note_sockets(m, e) : 0;
}

static int note_other_sockets(struct mig *m, struct err *e)
{
	return mnet_locks(m->net) ? 0 : note_sockets(m, e);
}

/* CRIU waits after it has stopped the tree. */
static const struct part stopped_parts[] = {
	{ "note pending signals", signals_note }, { "wait for native AIO", settle },
	{ "what waits in terminals", ttys_take }, { "last scan", look_last },
	{ "changed directories", dirs_frozen },   { "sockets to lock", note_sockets_to_lock },
	{ "lock the network", mnet_freeze },      { "scan before the dump", look_first },
};

static int note_threads(struct mig *m, struct err *e)
{
	return threads_note(m->dump.threads, e);
}

/* While CRIU dumps: what neither CRIU nor these change. */
static const struct part beside_parts[] = {
	{ "note sockets", note_other_sockets },
	{ "note threads", note_threads },
	{ "connections that are closed", mnet_note },
};

/* CRIU before 3.19 does not wait: the tree is stopped and dumped already. */
static const struct part dumped_parts[] = {
	{ "old CRIU", too_late },
	{ "note pending signals", signals_note },
	{ "last scan", look_last },
	{ "changed directories", dirs_frozen },
	{ "note sockets", note_sockets },
	{ "note threads", note_threads },
	{ "closed connections", mnet_note },
};

/* From the stop to the complete dump. The last scan runs beside the dump. */
static int dump(struct mig *m, struct err *e)
{
	enum criu_event ev = CRIU_EV_NONE;
	int r = criu_reply(m->dump.criu, true, e);

	while (r == 0) {
		r = criu_next(m->dump.criu, &ev, NULL, mig_deadline(m), e);
		if (r < 0 || ev == CRIU_EV_POST_DUMP)
			break;
		if (ev == CRIU_EV_FAILED)
			return -e->code;
		if (ev == CRIU_EV_DONE)
			return err_set(e, ERR_CRIU, EPROTO, "CRIU ended too early");
		if (ev == CRIU_EV_QUERY_EXT_FILES) {
			m->fig.t.stopped_us = now_us();
			threads_stopped(m->dump.threads);
			fault_at(FAULT_S_STOPPED);
			r = parts_run_here(m, stopped_parts, ARRAY_SIZE(stopped_parts), e);
			if (r < 0)
				return r;
		}
		r = criu_reply(m->dump.criu, true, e);
		if (r == 0 && ev == CRIU_EV_QUERY_EXT_FILES)
			r = parts_run_here(m, beside_parts, ARRAY_SIZE(beside_parts), e);
	}
	if (r < 0 || m->dump.present)
		return r;
	m->fig.t.stopped_us = now_us();
	return parts_run_here(m, dumped_parts, ARRAY_SIZE(dumped_parts), e);
}

/*
 * Our own reason for ending the page stream says more than CRIU's. If there is none the stream may
 * still be open: a CRIU that is stuck holds it, and the tree.
 */
static int dump_failed(struct mig *m, struct err *e)
{
	struct err s = ERR_INIT;

	if (e->src == ERR_CRIU && sink_wait(m->dump.sink, deadline_in_ms(REASON_MS), &s) < 0 &&
	    s.src != ERR_CRIU)
		*e = s;
	return err_code(e);
}

static int prepare_cgroup(struct mig *m, struct err *e)
{
	struct err why = ERR_INIT;

	(void)e;
	if (frost_new(&m->copy.frost, m->link.route, m->copy.home, &why) < 0)
		log_info("the stopped copy will be held by SIGSTOP alone: %s", why.msg);
	if (m->copy.frost)
		frost_warm(m->copy.frost);
	return 0;
}

static int record(struct mig *m, struct err *e)
{
	int r = record_freeze(m, e);

	fault_at(FAULT_S_FREEZE_RECORDED);
	return r;
}

static int wait_for_pages(struct mig *m, struct err *e)
{
	return sink_wait(m->dump.sink, mig_deadline(m), e);
}

/* The last moment at which it can be waited for: CRIU could not stop it. */
static int wait_vforks(struct mig *m, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(m->opt->pid, &l, e);
	pid_t who = r < 0 ? 0 : vforks_wait(l.pid, l.n, deadline_in_ms(VFORK_LIMIT_MS));

	procs_fini(&l);
	if (!who)
		return r;
	err_set(e, ERR_TARGET, EBUSY, "thread %d waits in vfork(2) and cannot be stopped", who);
	return err_fix(e, "try again when its child has executed its program, or has ended");
}

/* The cgroup not before the record: a recovery that finds the record removes it. */
static const struct part quiet_parts[] = {
	{ "record", record },
	{ "haul run", starter_hold },
	{ "processes in vfork", wait_vforks },
	{ "names of files", relinks_make },
	{ "watchdog", unit_disarm },
	{ "stop new connections", mnet_quiet },
	{ "prepare the cgroup", prepare_cgroup },
	{ "keep /proc/locks quick", locks_warm },
};

static const struct part dump_parts[] = {
	{ "watch the images", images_start },
	{ "dump", dump },
	{ "page stream", wait_for_pages },
};

/* the user of a process may have changed since the inspection */
static int same_owner(struct mig *m, struct err *e)
{
	return m->opt->user.owned ? owner_check(m->opt->pid, &m->opt->user.account, e) : 0;
}

static int numbers_check(struct mig *m, struct err *e)
{
	return img_objects_differ(m->dump.images_fd, e);
}

static int stop_at_the_end(struct mig *m, struct err *e)
{
	return criu_leaves_stopped(m->dump.criu_version) ? 0 : stop_held(m, e);
}

/* CRIU now stops the tasks with SIGSTOP and ends; switch_restore() waits for that. */
static int let_criu_end(struct mig *m, struct err *e)
{
	return criu_reply(m->dump.criu, true, e);
}

static const struct part hold_parts[] = {
	{ "check the owner", same_owner },
	{ "files opened since", opened_check },
	{ "numbers of shared memory", numbers_check },
	{ "names of files", relinks_drop },
	{ "hold the processes", hold },
	{ "locks on shared files", locks_find },
	{ "record", record_held },
	{ "stop the processes", stop_at_the_end },
	{ "end of CRIU", let_criu_end },
};

int freeze_run(struct mig *m, struct err *e)
{
	int r = parts_run_here(m, quiet_parts, ARRAY_SIZE(quiet_parts), e);

	throttle_free(m);
	m->fig.t.freeze_us = now_us();
	throttle_limits(m, true);
	if (r < 0 || parts_run_here(m, dump_parts, ARRAY_SIZE(dump_parts), e) < 0)
		return dump_failed(m, e);
	m->fig.t.dumped_us = now_us();
	fault_at(FAULT_S_DUMPED);
	r = parts_run_here(m, hold_parts, ARRAY_SIZE(hold_parts), e);
	m->dump.done = r == 0;
	return r;
}

static void signal_all(const struct proc_list *l, int sig)
{
	for (size_t i = 0; i < l->n; i++)
		kill(l->pid[i], sig);
}

/*
 * A CRIU that has to be killed lets the processes run, and leaves their sockets in repair mode, in which reads fail.
 * They are stopped before: the signal waits until ptrace ends. @stopped: those, for the caller to resume
 */
static void drop_criu(struct mig *m, struct proc_list *stopped)
{
	struct err ignore = ERR_INIT;

	pthread_mutex_lock(&m->halt.lock);
	struct criu *c = steal(m->dump.criu);

	pthread_mutex_unlock(&m->halt.lock);
	if (c && !criu_ends(c) && procs_tree(m->opt->pid, stopped, &ignore) == 0)
		signal_all(stopped, SIGSTOP);
	criu_free(c);
}

/*
 * The copy at the destination may have the locks: it ends first. After Ctrl-C the connection is cancelled, and
 * its end is what tells the destination.
 */
static void take_locks(struct mig *m)
{
	if (!locks_given(m->copy.locks))
		return;
	if (m->link.ctl && !mig_stopped(m))
		talk_abort(m, &m->err);
	pthread_mutex_lock(&m->halt.lock);
	struct chan *ctl = m->halt.stop ? steal(m->link.ctl) : NULL;

	pthread_mutex_unlock(&m->halt.lock);
	chan_free(ctl);
	locks_take(m->copy.locks);
}

void freeze_resume(struct mig *m)
{
	for (size_t i = 0; i < m->copy.n_held; i++)
		if ((m->dump.done || !criu_leaves_stopped(m->dump.criu_version)) &&
		    !m->copy.held[i].was_stopped &&
		    syscall(SYS_pidfd_send_signal, m->copy.held[i].pidfd, SIGCONT, NULL, 0) < 0)
			log_err("cannot resume pid=%d: %s", m->copy.held[i].pid, strerror(errno));
}

/*
 * Whatever CRIU was doing, the tree runs after this. Before its last answer CRIU holds the tasks by
 * ptrace and lets them go when its stream or its RPC socket closes; after it they are in state T
 * until SIGCONT.
 */
void freeze_undo(struct mig *m)
{
	struct proc_list stopped = { 0 };

	if (!m->dump.done && m->dump.criu) {
		struct err ignore = ERR_INIT;

		sink_free(steal(m->dump.sink));
		criu_reply(m->dump.criu, false, &ignore);
	}
	drop_criu(m, &stopped);
	starter_back(m);
	mnet_undo(m);
	capture_back(m);
	if (m->copy.frost)
		frost_thaw(m->copy.frost);
	ttys_put(m->copy.ttys);
	take_locks(m);
	if (m->dump.done)
		threads_again(m->dump.threads, m->dump.images_fd);
	/* saved with --stop it stays so, once its state is on the disk */
	if (!m->kept || !m->opt->archive.stop)
		freeze_resume(m);
	signal_all(&stopped, SIGCONT);
	procs_fini(&stopped);
	scans_free(steal(m->dump.scans)); /* its thread may ask what is present */
	present_free(steal(m->dump.present));
	relinks_drop(m, NULL);
	dirs_cancel(m->dirs);
	images_free(steal(m->dump.images));
	if (m->kept)
		m->fig.t.running_us = now_us();
	log_info("the tree resumes after %llu us",
	         (unsigned long long)(now_us() - m->fig.t.freeze_us));
}

/* Stopped, dead, or with CRIU's SIGSTOP pending: it will not run again. */
static bool is_stopped(pid_t pid)
{
	char state = procs_state(pid);

	return state == 'T' || state == 'Z' || state == 0 || procs_pends(pid, SIGSTOP);
}

/*
 * Another thread of the process may have taken the signal while this one has not been scheduled
 * since, on a busy processor: it stops before it runs. A thread that was woken does not become T.
 */
static bool stops_soon(pid_t pid)
{
	uint64_t deadline = deadline_in_ms(STOP_TURN_MS);
	bool is = is_stopped(pid);

	while (!is && now_us() < deadline) {
		usleep(200);
		is = is_stopped(pid);
	}
	return is;
}

static int all_stopped(const struct mig *m, struct err *e)
{
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (!stops_soon(m->copy.held[i].pid))
			return err_set(e, ERR_SYS, EINTR,
			               "another process has woken the stopped process %d (SIGCONT)",
			               m->copy.held[i].pid);
	return 0;
}

int freeze_hold(struct mig *m, struct err *e)
{
	uint64_t t0 = now_us();
	int r = 0;

	for (size_t i = 0; r == 0 && m->copy.frost && i < m->copy.n_held; i++)
		r = frost_add(m->copy.frost, m->copy.held[i].pid, e);
	if (m->copy.frost)
		frost_cool(m->copy.frost);
	r = r < 0 ? r : all_stopped(m, e);
	log_info("processes=%zu hold_us=%llu", m->copy.n_held, (unsigned long long)(now_us() - t0));
	return r;
}

/* A zombie cannot be moved into a cgroup, and need not be. */
static bool slipped(const struct mig *m, pid_t pid)
{
	return m->copy.frost && procs_lives(pid) && !frost_has(m->copy.frost, pid);
}

/*
 * In a frozen cgroup no signal wakes a process; but another process may move it out, or thaw the
 * cgroup.
 */
int freeze_kept(const struct mig *m, struct err *e)
{
	if (!m->copy.frost)
		return all_stopped(m, e);
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (slipped(m, m->copy.held[i].pid))
			return err_set(e, ERR_SYS, EINTR,
			               "another process has moved the stopped process %d out of "
			               "its frozen "
			               "cgroup, or thawed it",
			               m->copy.held[i].pid);
	return 0;
}

void freeze_watch(struct mig *m)
{
	struct err e = ERR_INIT;

	for (size_t i = 0; i < m->copy.n_held; i++) {
		pid_t pid = m->copy.held[i].pid;
		bool out = slipped(m, pid);
		bool woken = !m->copy.frost && !stops_soon(pid);

		if (!out && !woken)
			continue;
		syscall(SYS_pidfd_send_signal, m->copy.held[i].pidfd, SIGSTOP, NULL, 0);
		if (out && frost_again(m->copy.frost, pid, &e) < 0)
			log_err("%s", e.msg);
		log_err("pid=%d of the stopped copy was %s by another process; stopped again", pid,
		        out ? "moved out of its frozen cgroup" : "woken");
	}
}

static void wait_gone(const struct held *h)
{
	struct pollfd p = { .fd = h->pidfd, .events = POLLIN };
	uint64_t deadline = deadline_in_ms(GONE_LIMIT_MS);

	while (poll(&p, 1, deadline_poll_ms(deadline)) < 0 && errno == EINTR)
		;
	if (!(p.revents & POLLIN))
		log_warn("pid=%d was killed but has not exited", h->pid);
}

void freeze_kill(struct mig *m)
{
	struct err late = ERR_INIT;

	signals_late(m);
	capture_over(m);
	if (m->copy.rings && direct_rings_same(m->copy.rings, &late) < 0)
		log_err("a native AIO request was answered here after the hand-over; at the "
		        "destination it never will be");
	mnet_end(m);
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (syscall(SYS_pidfd_send_signal, m->copy.held[i].pidfd, SIGKILL, NULL, 0) < 0 &&
		    errno != ESRCH)
			log_err("pid=%d cannot be killed: %s", m->copy.held[i].pid,
			        strerror(errno));
	for (size_t i = 0; i < m->copy.n_held; i++)
		wait_gone(&m->copy.held[i]);
	mnet_done(m);
}
