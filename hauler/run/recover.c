// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recover.c - complete or undo what a killed haul began. docs/HANDOVER.md: before the commit the
 * tree resumes here; after it only the destination knows the outcome, and is asked; when it can no
 * longer be asked the operator decides (haul resolve).
 */

#include "hauler/run/recover.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/host/systemctl.h"
#include "engine/proc/within.h"
#include "hauler/load/load.h"
#include "hauler/report/report.h"
#include "hauler/run/priv.h"
#include "hauler/save/save.h"

#define TRACED_LIMIT_MS 10000

struct found_ids {
	uint64_t *v;
	size_t n;
};

static int note_id(void *arg, uint64_t id)
{
	struct found_ids *f = arg;
	uint64_t *v = realloc(f->v, (f->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	f->v = v;
	v[f->n++] = id;
	return 0;
}

static struct mig *new_mig(void)
{
	struct mig *m = calloc(1, sizeof(*m));

	if (m)
		mig_init(m);
	return m;
}

/* CRIU may outlive haul, and stops its tasks when it ends; wake them after that. */
static void wait_untraced(pid_t pid)
{
	uint64_t deadline = deadline_in_ms(TRACED_LIMIT_MS);

	while (procs_tracer(pid) > 0 && now_us() < deadline)
		usleep(1000);
}

static void thaw(struct mig *m)
{
	starter_back(m);
	mnet_undo(m);
	capture_back(m);
	if (m->copy.frost)
		frost_thaw(m->copy.frost);
	for (size_t i = 0; i < m->copy.n_held; i++)
		wait_untraced(m->copy.held[i].pid);
	locks_take(m->copy.locks);
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (!m->copy.held[i].was_stopped)
			syscall(SYS_pidfd_send_signal, m->copy.held[i].pidfd, SIGCONT, NULL, 0);
	unit_back(m);
}

/* ---- where its network is ---- */

/*
 * Addresses and the network lock are in the network namespace in which haul ran, the tree's;
 * recovery may run in another one. Return: the way back; -1: none is needed
 */
static int enter_net(const struct mig *m)
{
	const char *start = journal_get(m->journal, "start");
	struct stat here, there;
	char path[40];

	if (m->opt->container.runtime[0]) /* haul ran outside of it */
		return -1;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", m->opt->pid);
	AUTO(fd) int to = open(path, O_RDONLY | O_CLOEXEC);
	AUTO(fd) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (to < 0 || own < 0 || !start || procs_start(m->opt->pid) != strtoull(start, NULL, 10) ||
	    fstat(to, &there) < 0 || fstat(own, &here) < 0 || there.st_ino == here.st_ino)
		return -1;
	if (setns(to, CLONE_NEWNET) < 0) {
		log_err("the network namespace of pid %d: %s", m->opt->pid, strerror(errno));
		return -1;
	}
	return steal_fd(&own);
}

static void leave_net(int own)
{
	if (own >= 0 && setns(own, CLONE_NEWNET) < 0)
		log_err("back to our network namespace: %s", strerror(errno));
	if (own >= 0)
		close(own);
}

/* ---- one migration ---- */

/* One end of it may have been an archive. */
static int attach(struct mig *m)
{
	return m->opt->archive.state ? load_attach(m, &m->err) : save_attach(m, &m->err);
}

/* What its journal says. @gone: number of processes that no longer exist; @net: for leave_net() */
static int load(struct mig *m, struct opts *o, unsigned int *gone, int *net)
{
	if (record_load(m, o, &m->err) < 0 || attach(m) < 0 ||
	    record_held_again(m, gone, &m->err) < 0)
		return -m->err.code;
	*net = enter_net(m);
	return mnet_adopt(m, journal_get(m->journal, "net"), &m->err);
}

enum phase { PH_NOTHING, PH_HELD, PH_COMMIT };

static enum phase phase_of(const struct journal *j)
{
	const char *w = journal_word(j);

	if (!strcmp(w, "commit"))
		return PH_COMMIT;
	return !strcmp(w, "held") || !strcmp(w, "undone") ? PH_HELD : PH_NOTHING;
}

static void say(const struct recover *rc, const struct mig *m, const char *what)
{
	if (rc->opt->json)
		printf("{\"event\":\"recover\",\"migration\":\"%016llx\",\"pid\":%d,\"outcome\":\"%"
		       "s\"}\n",
		       (unsigned long long)m->link.route, m->opt ? m->opt->pid : 0, what);
	else if (!rc->opt->quiet)
		printf("migration %016llx (pid %d): %s\n", (unsigned long long)m->link.route,
		       m->opt ? m->opt->pid : 0, what);
	fflush(stdout);
}

/* Return: is nothing left to do, so that the journal can go? */
static bool recover_loaded(const struct recover *rc, struct mig *m, struct opts *o, int *net)
{
	enum phase ph = phase_of(m->journal);
	unsigned int gone = 0;

	if (!journal_of_this_boot(m->journal)) {
		say(rc, m, "this host has rebooted since: nothing of it is left here");
		return true;
	}
	if (load(m, o, &gone, net) < 0)
		return false;
	if (ph != PH_COMMIT) {
		if (!rc->list)
			thaw(m);
		say(rc, m,
		    m->load         ? "was not loaded; the archive is as it was"
		    : rc->list      ? "was not handed over; resumes here when recovered"
		    : ph == PH_HELD ? "was not handed over; it resumed here"
		                    : "was not stopped yet; it resumed here");
		return !rc->list;
	}
	if (m->copy.n_held == 0 && !m->load) {
		if (!rc->list)
			mnet_done(m);
		say(rc, m, "was handed over; the copy here is gone");
		return !rc->list;
	}
	if (rc->list) {
		say(rc, m,
		    m->load ? "may have been loaded; needs its archive"
		            : "may have been handed over; the stopped copy is here");
		return false;
	}
	run_recovered(m);
	report_end(m);
	if (m->state == MIG_DONE)
		say(rc, m,
		    m->load   ? "runs here, with every page"
		    : m->save ? "is in the archive; the process was ended"
		              : "runs at the destination, with every page");
	else if (m->state == MIG_UNDONE)
		say(rc, m,
		    m->load ? "was not loaded; the archive is as it was"
		            : "was not handed over; it resumed here");
	return m->state != MIG_LOST || m->load;
}

static int adopt(struct mig *m)
{
	int r = journal_adopt(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, m->link.route, &m->err);

	if (r != -ENOENT)
		return r;
	err_clear(&m->err);
	return err_set(&m->err, ERR_USER, ENOENT, "no migration %016llx was left behind here",
	               (unsigned long long)m->link.route);
}

static int recover_one(struct recover *rc, uint64_t id)
{
	struct mig *m = new_mig();
	struct opts o = *rc->opt;
	bool over = false;
	int net = -1;

	if (!m)
		return -ENOMEM;
	m->id = m->link.route = id;
	log_migration(id);
	int r = adopt(m);

	if (r == -EBUSY) {
		if (rc->list)
			say(rc, m, "under way");
		free(m);
		return 0;
	}
	bool missing = r == -ENOENT;

	rc->current = m;
	if (r == 0)
		over = recover_loaded(rc, m, &o, &net);
	leave_net(net);
	rc->current = NULL;
	r = m->err.src != ERR_NONE ? -m->err.code : 0;
	if (r < 0)
		report_error(&m->err, o.json);
	record_end(m, over);
	run_fini(m);
	free(m);
	if (missing) /* another process ended it meanwhile, unless the operator asked for this one */
		return rc->id ? r : 0;
	rc->left += !over && !rc->list;
	return 0;
}

/* ---- in which pid namespace its processes are ---- */

static pid_t number(const struct journal *j, const char *key)
{
	const char *v = journal_get(j, key);

	return v ? (pid_t)strtol(v, NULL, 10) : 0;
}

/* Return: a process of the pid namespace that haul entered for @id; 0: it entered none, or that is gone */
static pid_t outer_of(uint64_t id)
{
	struct journal *j = NULL;
	struct err ignore = ERR_INIT;

	if (journal_adopt(&j, JOURNAL_DIR, JOURNAL_SOURCE, id, &ignore) < 0)
		return 0;
	pid_t pid = number(j, "outer");
	const char *start = journal_get(j, "start");
	bool lives = pid > 0 && start && procs_start(pid) == strtoull(start, NULL, 10);

	if (!journal_of_this_boot(j))
		lives = false;
	journal_close(j, false);
	return lives && within_can(pid) ? pid : 0;
}

/* @fn, or a child that calls it there. Return: as @fn; a child's exit status below 0 is -EIO */
static int where_it_is(struct recover *rc, uint64_t id, int (*fn)(struct recover *, uint64_t))
{
	struct err e = ERR_INIT;
	pid_t outer = outer_of(id);
	pid_t child = outer ? within_fork(outer, &e) : 0;

	if (child == 0) {
		unsigned int before = rc->left;
		int r = fn(rc, id);

		if (!outer)
			return r;
		fflush(NULL);
		_exit(r < 0 ? 2 : rc->left > before);
	}
	int status = child < 0 ? 2 : within_wait(child);

	if (child < 0)
		report_error(&e, rc->opt->json);
	rc->left += status != 0;
	return status > 1 ? -EIO : 0;
}

int recover_all(struct recover *rc)
{
	struct found_ids f = { 0 };
	unsigned int slowed = rc->list ? 0 : slow_sweep();
	int r = 0;

	if (slowed && !rc->opt->quiet && !rc->opt->json)
		printf("%u process tree%s at full speed again\n", slowed, slowed == 1 ? "" : "s");
	if (rc->id)
		r = where_it_is(rc, rc->id, recover_one);
	else
		journal_each(JOURNAL_DIR, JOURNAL_SOURCE, note_id, &f);
	for (size_t i = 0; r == 0 && i < f.n; i++)
		r = where_it_is(rc, f.v[i], recover_one);
	if (!rc->list)
		systemctl_sweep(); /* of those that died before anything was on record */
	if (!rc->id && f.n == 0 && !rc->opt->quiet && !rc->opt->json)
		puts("no migration was left behind here");
	free(f.v);
	return r;
}

/* ---- haul resolve: the operator decides ---- */

static int resolve_loaded(struct recover *rc, struct mig *m, struct opts *o, bool keep, int *net)
{
	unsigned int gone = 0;

	if (!journal_of_this_boot(m->journal))
		return err_set(&m->err, ERR_USER, ESRCH,
		               "this host has rebooted since: nothing of it is left here");
	if (load(m, o, &gone, net) < 0)
		return -m->err.code;
	if (keep && gone)
		return err_set(&m->err, ERR_USER, ESRCH, "%u of its processes are gone", gone);
	if (keep)
		thaw(m);
	else
		freeze_kill(m);
	say(rc, m,
	    keep ? "resumed here, as it was when it was stopped" : "the copy here was killed");
	return 0;
}

static int resolve_one(struct recover *rc, uint64_t id)
{
	bool keep = rc->keep;
	struct mig *m = new_mig();
	struct opts o = *rc->opt;
	int net = -1;

	if (!m)
		return -ENOMEM;
	m->id = m->link.route = id;
	int r = adopt(m);

	if (r == 0)
		r = resolve_loaded(rc, m, &o, keep, &net);
	leave_net(net);
	if (r < 0)
		report_error(&m->err, o.json);
	record_end(m, r == 0);
	run_fini(m);
	free(m);
	return r;
}

int recover_resolve(struct recover *rc, bool keep)
{
	rc->keep = keep;
	return where_it_is(rc, rc->id, resolve_one);
}
