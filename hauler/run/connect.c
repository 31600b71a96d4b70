// SPDX-License-Identifier: GPL-2.0-or-later
/* connect.c - connect, negotiate, prepare: everything before pages move. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"
#include "engine/proc/inner.h"
#include "hauler/report/report.h"
#include "hauler/rights/owner.h"
#include "hauler/save/save.h"
#include "transport/msg/haul.pb-c.h"

#define CRIU_LIMIT_MS     10000
#define STREAM_SOCK_BYTES (4 << 20)
#define PARENT_NAME       "before" /* in the directory of images */

/* The tracker that was asked for, or the best one that this kernel has. */
static int choose_tracker(struct mig *m, struct err *e)
{
	static const enum tracker_kind kinds[] = {
		[POL_TRACKER_SCAN] = TRACKER_WP_ASYNC,
		[POL_TRACKER_SOFT] = TRACKER_SOFT_DIRTY,
		[POL_TRACKER_NONE] = TRACKER_NONE,
	};
	unsigned int word = m->opt->pol.v.tracker;

	m->precopy.tracker_kind = word == POL_TRACKER_AUTO ? tracker_best() : kinds[word];
	if (word == POL_TRACKER_AUTO && m->precopy.tracker_kind == TRACKER_NONE)
		log_warn("this kernel cannot tell which pages are written: nothing is copied "
		         "before the "
		         "process is stopped");
	if (tracker_probe(m->precopy.tracker_kind, e) == 0)
		return 0;
	err_wrap(e, "tracker %s cannot be used on this host",
	         tracker_kind_name(m->precopy.tracker_kind));
	return err_fix(e, "let haul choose: --tracker=auto would take %s here",
	               tracker_kind_name(tracker_best()));
}

static int owner(struct mig *m, struct err *e)
{
	return m->opt->user.owned ? owner_check(m->opt->pid, &m->opt->user.account, e) : 0;
}

static int look(struct mig *m, struct err *e)
{
	inner_tree(m->opt->pid);
	return inspect_new_with(&m->insp, m->opt->pid, mnet_judge(m->net), &m->opt->fs, e);
}

static int judge_addresses(struct mig *m, struct err *e)
{
	AUTO(findings) struct findings f = { 0 };
	int r = mnet_findings(m, &f, e);

	if (r || !f.blockers)
		return r;
	report_findings(&f, m->opt->json, m->opt->verbose);
	err_set(e, ERR_TARGET, EPERM, "%s", f.v[0].text);
	return err_fix(e, "%s", f.v[0].remedy);
}

static int judge_tree(struct mig *m, struct err *e)
{
	if (!inspect_findings(m->insp)->blockers)
		return 0;
	/* what is found of a process that ends meanwhile is not about the program */
	if (procs_ends(m->opt->pid))
		return err_set(e, ERR_SYS, ESRCH, "process %d has ended", m->opt->pid);
	report_findings(inspect_findings(m->insp), m->opt->json, m->opt->verbose);
	err_set(e, ERR_TARGET, EPERM, "process %d cannot be hauled as it is", m->opt->pid);
	return err_fix(e, "see the blockers above; haul check %d explains", m->opt->pid);
}

static int start_tracker(struct mig *m, struct err *e)
{
	int r = tracker_new(&m->precopy.trk, m->opt->pid, m->precopy.tracker_kind, e);

	return r < 0 ? r : tracker_own(m->precopy.trk, e);
}

static int ask_criu(struct mig *m, struct err *e)
{
	AUTO(criu) struct criu *c = NULL;

	if (conf_criu(m->dump.criu_path, sizeof(m->dump.criu_path), m->opt->criu, m->opt->config,
	              e) < 0)
		return err_code(e);
	if (criu_spawn(&c, m->dump.criu_path, -1, e) == 0 &&
	    criu_version(c, &m->dump.criu_version, deadline_in_ms(CRIU_LIMIT_MS), e) == 0)
		return 0;
	err_wrap(e, "CRIU on this host (%s)", m->dump.criu_path);
	return err_fix(e, "run contrib/find-criu, or name one with --criu PATH");
}

/* Their errors say what is wrong without the name of a step. */
static int (*const connect_parts[])(struct mig *m, struct err *e) = {
	save_begin, choose_tracker,  owner,      ask_criu,      mnet_new,  opened_note,
	look,       judge_addresses, judge_tree, start_tracker, dirs_look, talk_connect,
};

int connect_run(struct mig *m, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(connect_parts); i++)
		if (connect_parts[i](m, e) < 0)
			return err_code(e);
	return 0;
}

void connect_undo(struct mig *m)
{
	if (m->link.ctl && !mig_stopped(m))
		talk_abort(m, &m->err);
}

/*
 * CRIU has to suspend the seccomp filters of tasks that have some. The kernel does not let a tracer
 * do that which has a filter itself, so CRIU then walks all pages (push mode).
 */
static bool has_seccomp(const struct mig *m)
{
	const struct findings *f = inspect_findings(m->insp);

	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->v[i].code, "seccomp"))
			return true;
	return false;
}

static bool brings_object(void *arg, uint64_t dev, uint64_t inode)
{
	struct mig *m = arg;

	return m->dump.present && present_has(m->dump.present, dev, inode);
}

static int spawn_criu(struct mig *m, int theirs, struct err *e)
{
	struct criu *c = NULL;
	int listener = -1;
	struct pol_size z = { 0 };

	inspect_size(m->insp, &z);
	enum pol_freeze how = has_seccomp(m) ? POL_FREEZE_PUSH : pol_freeze_how(&z);

	if (how == POL_FREEZE_PUSH && !has_seccomp(m) && inspect_hides_limits(m->insp))
		how = POL_FREEZE_SCANS; /* slower, but with answers */
	bool smaps = how == POL_FREEZE_SMAPS;
	int r = criu_spawn_scanned(&c, m->dump.criu_path, theirs, smaps,
	                           how == POL_FREEZE_PUSH ? NULL : &listener, e);

	pthread_mutex_lock(&m->halt.lock);
	m->dump.criu = c;
	pthread_mutex_unlock(&m->halt.lock);
	if (r)
		return r;
	r = mig_unless_stopped(m, e);
	if (r)
		return r;
	if (listener >= 0)
		r = answer_criu_start(m, listener, smaps, brings_object, e);
	return r ? r : threads_new(&m->dump.threads, m->opt->pid, inspect_locks(m->insp), e);
}

/* Until CRIU asks whether it may stop the tree. @parent: an earlier dump has its memory */
static int ask_dump(struct mig *m, bool parent, struct err *e)
{
	AUTO(mem) char **external = NULL;
	ssize_t n_external = outs_external(inspect_outs(m->insp), &external);

	if (n_external < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for descriptors");
	struct criu_opts o = {
		.external = external,
		.n_external = (size_t)n_external,
		.images_fd = m->dump.images_fd,
		.pid = m->opt->pid,
		.tcp_close = !mnet_moves_tcp(m->net),
		.shell_job = inspect_shell_job(m->insp),
		.ext_unix = inspect_ext_unix(m->insp),
		.file_locks = true,
		.log_name = "dump.log",
		.version = m->dump.criu_version,
		.parent = parent ? PARENT_NAME : NULL,
	};

	capture_base(m, &o);
	if (criu_dump(m->dump.criu, &o, e) < 0 ||
	    criu_pump(m->dump.criu, CRIU_EV_PRE_DUMP, NULL, deadline_in_ms(CRIU_LIMIT_MS), e) < 0)
		return err_wrap(e, "CRIU will not dump");
	return 0;
}

/* Start CRIU now; it waits before it touches the tree. */
static int start_criu(struct mig *m, struct err *e)
{
	struct sink_ops ops;
	int sk[2], bytes = STREAM_SOCK_BYTES;

	if (img_dir(&m->dump.images_fd, e) < 0)
		return -e->code;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) < 0)
		return err_sys(e, "socketpair");
	setsockopt(sk[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	AUTO(fd) int theirs = sk[1];
	int r = spawn_criu(m, theirs, e);

	if (r < 0) {
		close(sk[0]);
		return r;
	}
	ops = (struct sink_ops){ .shmem = freeze_shmem, .parent = freeze_mode_clean(m), .arg = m };

	r = sink_start(&m->dump.sink, sk[0], m->dump.criu_version, &ops, e);
	if (r < 0)
		return r;
	if (ops.parent)
		r = img_parent(m->dump.images_fd, PARENT_NAME, e);
	return r < 0 ? r : ask_dump(m, ops.parent, e);
}

static int say_freeze_mode(struct mig *m, struct err *e)
{
	(void)e;
	report_freeze_mode(m);
	return 0;
}

int connect_sender(struct mig *m, struct err *e)
{
	struct send *s = NULL;
	int r = sent_new(&m->pages.sent, e);

	if (r == 0)
		r = send_new(&s, m->link.data, m->opt->pol.v.streams, m->pages.sent, e);
	pthread_mutex_lock(&m->halt.lock);
	m->pages.send = s;
	pthread_mutex_unlock(&m->halt.lock);
	if (r)
		return r;
	r = mig_unless_stopped(m, e);
	if (r)
		return r;
	throttle_limits(m, false);
	return 0;
}

static int send_files(struct mig *m, struct err *e)
{
	return bring_files(m, true, e);
}

static const struct part prepare_parts[] = {
	{ "container", capture_take },
	{ "start CRIU", start_criu },
	{ "send START", talk_start },
	{ "freeze mode", say_freeze_mode },
	{ "connect the streams", talk_streams },
	{ "measure the round trip", talk_ping },
	{ "prepare the network", mnet_prepare },
	{ "start the sender", connect_sender },
	{ "systemd", unit_guard },
	{ "send files", send_files },
	{ "send directories", dirs_first },
};

int connect_prepare(struct mig *m, struct err *e)
{
	return parts_run(m, prepare_parts, ARRAY_SIZE(prepare_parts), e);
}

void connect_prepare_undo(struct mig *m)
{
	if (m->pages.send)
		send_cancel(m->pages.send);
	/* after Ctrl-C the channel is cancelled; the destination takes its end as an ABORT */
	if (m->link.ctl && !mig_stopped(m))
		talk_abort(m, &m->err);
	mnet_undone(m);
	unit_back(m);
}
