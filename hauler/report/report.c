// SPDX-License-Identifier: GPL-2.0-or-later
/* report.c - turns what happens into events; say.c prints them. */
#include "hauler/report/report.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/printable.h"
#include "engine/proc/proc.h"
#include "hauler/dirs/dirs.h"
#include "hauler/net/net.h"
#include "hauler/report/say.h"
#include "transport/msg/haul.pb-c.h"

#define PROGRESS_EVERY_US 500000
#define PROGRESS_PLAIN_US 2000000
#define DYING_MS          300

static uint64_t last_progress_us;

static struct say_how how_of(const struct mig *m)
{
	return (struct say_how){ m->opt->json, m->opt->quiet, m->opt->verbose };
}

static void put(const struct mig *m, json_t *o)
{
	say_event(o, how_of(m));
}

/* A name that may hold any byte */
static json_t *shown(const char *s)
{
	AUTO(mem) char *copy = strdup(s ? s : "");

	return copy ? json_string(printable(copy)) : json_null();
}

static double since_s(const struct mig *m)
{
	return (double)(now_us() - m->fig.t.start_us) / 1e6;
}

static json_t *event(const struct mig *m, const char *name)
{
	json_t *o = json_object();
	char id[20];

	snprintf(id, sizeof(id), "%016llx", (unsigned long long)m->id);
	json_object_set_new(o, "event", json_string(name));
	json_object_set_new(o, "migration", json_string(id));
	json_object_set_new(o, "time_s", json_real(since_s(m)));
	return o;
}

static void set_u(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

void report_state(const struct mig *m)
{
	json_t *o = event(m, "state");

	json_object_set_new(o, "state", json_string(m->at->name));
	/* before the streams there is nothing to undo */
	if (m->state == MIG_UNDO)
		json_object_set_new(o, "begun", json_boolean(m->pages.send != NULL && !m->kept));
	put(m, o);
}

void report_freeze_mode(const struct mig *m)
{
	json_t *o = event(m, "freeze");

	json_object_set_new(o, "freeze_mode", json_string(freeze_mode(m)));
	json_object_set_new(o, "tracking", json_string(tracker_kind_name(m->precopy.tracker_kind)));
	put(m, o);
}

/* Different pages written per second, over the last round. */
static double written_ps(const struct mig *m)
{
	return m->fig.round_us
	               ? (double)m->precopy.decision.written_pages * 1e6 / (double)m->fig.round_us
	               : 0;
}

void report_round(const struct mig *m)
{
	json_t *o = event(m, "round");

	set_u(o, "round", m->precopy.decision.round + m->precopy.decision.in_round);
	json_object_set_new(o, "cut", json_boolean(m->precopy.decision.in_round));
	set_u(o, "pages", m->fig.round_pages);
	set_u(o, "round_us", m->fig.round_us);
	json_object_set_new(o, "link_Bps", json_real(m->precopy.decision.link_Bps));
	json_object_set_new(o, "dirty_pages_ps", json_real(written_ps(m)));
	set_u(o, "predicted_left_pages", m->precopy.answer.left_pages);
	set_u(o, "predicted_downtime_us", m->precopy.answer.downtime_us);
	set_u(o, "predicted_degraded_us", m->precopy.answer.degraded_us);
	set_u(o, "predicted_total_us", m->precopy.answer.total_us);
	json_object_set_new(o, "verdict", json_string(pol_verdict_name(m->precopy.answer.verdict)));
	json_object_set_new(o, "why", json_string(m->precopy.answer.why));
	put(m, o);
}

void report_throttle(const struct mig *m)
{
	json_t *o = event(m, "throttle");

	set_u(o, "throttle_percent", m->precopy.decision.slow_percent);
	json_object_set_new(o, "throttle_by", json_string(slow_by(m->precopy.slow)));
	json_object_set_new(o, "why", json_string(m->precopy.answer.why));
	put(m, o);
}

static uint64_t downtime_us(const struct mig *m)
{
	return m->fig.t.running_us - m->fig.t.freeze_us - m->fig.t.rtt_us / 2;
}

/* "save", "load"; NULL: it is a move */
static const char *with_archive(const struct mig *m)
{
	return m->save ? "save" : m->load ? "load" : NULL;
}

void report_running(const struct mig *m)
{
	if (m->save)
		return; /* its end is said at the end */
	json_t *o = event(m, "running");

	if (m->load)
		set_u(o, "remote_pages", m->fig.remote_pages);
	json_object_set_new(o, "destination", json_string(m->opt->dest));
	set_u(o, "downtime_us", downtime_us(m));
	put(m, o);
}

void report_progress(const struct mig *m, bool force)
{
	bool tty = isatty(STDOUT_FILENO);
	uint64_t now = now_us();
	struct send_stats st = { 0 };

	if (m->opt->quiet || !m->pages.send || (m->save && m->halt.committed))
		return;
	if (!force && now - last_progress_us < (tty ? PROGRESS_EVERY_US : PROGRESS_PLAIN_US))
		return;
	last_progress_us = now;
	json_t *o = event(m, "progress");

	mig_send_stats(m, &st);
	json_object_set_new(o, "state", json_string(m->at->name));
	set_u(o, "round", m->precopy.decision.round + 1);
	set_u(o, "pages", st.pages);
	set_u(o, "wire_bytes", st.wire_bytes);
	json_object_set_new(o, "link_Bps", json_real(m->precopy.decision.link_Bps));
	set_u(o, "predicted_downtime_us", m->precopy.answer.downtime_us);
	set_u(o, "throttle_percent", m->precopy.decision.slow_percent);
	set_u(o, "left_pages", m->fig.peer_left_pages);
	set_u(o, "faults", m->fig.peer_faults);
	put(m, o);
}

static void set_fs(json_t *o, const struct dirs_stats *st)
{
	if (!st)
		return;
	set_u(o, "fs_inodes", st->inodes);
	set_u(o, "fs_tree_bytes", st->bytes);
	set_u(o, "fs_files", st->sent_files);
	set_u(o, "fs_bytes", st->sent_bytes);
	set_u(o, "fs_wire_bytes", st->wire_bytes);
	set_u(o, "fs_passes", st->passes);
	set_u(o, "fs_look_us", st->look_us);
	set_u(o, "fs_first_us", st->first_us);
	set_u(o, "fs_frozen_us", st->frozen_us);
	set_u(o, "fs_frozen_bytes", st->frozen_bytes);
	json_object_set_new(o, "fs_watch", json_string(st->watch));
}

/* Number of faults by waiting time, each with the upper end of its range; the last has none. */
static void set_faults(json_t *o, const struct mig *m)
{
	json_t *n = json_array(), *le = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(m->fig.fault_n); i++)
		json_array_append_new(n, json_integer((json_int_t)m->fig.fault_n[i]));
	for (size_t i = 0; i < PAGER_FAULT_BOUNDS; i++)
		json_array_append_new(le, json_integer(pager_fault_le_us[i]));
	json_object_set_new(o, "fault_n", n);
	json_object_set_new(o, "fault_le_us", le);
}

/*
 * Is the whole stopped copy still here? A process that was killed may take a moment: its memory, which
 * we missed, goes first.
 */
static bool copy_lives(const struct mig *m)
{
	int ms = DYING_MS;

	for (size_t i = 0; i < m->copy.n_held; i++) {
		struct pollfd p = { .fd = m->copy.held[i].pidfd, .events = POLLIN };

		if (poll(&p, 1, ms) != 0 || procs_pends(m->copy.held[i].pid, SIGKILL))
			return false;
		ms = 0;
	}
	return m->copy.n_held > 0;
}

static json_t *end_json(const struct mig *m, const struct send_stats *st)
{
	bool well = mig_well(m);
	json_t *o = event(m, well ? "done" : "failed");

	json_object_set_new(o, "state", json_string(well ? "done" : m->at->name));
	if (with_archive(m)) {
		json_object_set_new(o, "did", json_string(with_archive(m)));
		json_object_set_new(o, "left",
		                    json_string(m->opt->archive.end    ? "ended"
		                                : m->opt->archive.stop ? "stopped"
		                                                       : "running"));
		set_u(o, "archive_state", m->fig.archive.state);
		set_u(o, "archive_bytes", m->fig.archive.bytes);
	}
	if (!well)
		set_u(o, "code", (uint64_t)m->err.code);
	if (m->state == MIG_LOST)
		json_object_set_new(o, "copy_here", json_boolean(copy_lives(m)));
	json_object_set_new(o, "comm", json_string(m->fig.comm));
	if (m->opt->dest)
		json_object_set_new(o, "destination", json_string(m->opt->dest));
	set_u(o, "pid", (uint64_t)m->opt->pid);
	if (m->fig.host_pid)
		set_u(o, "host_pid", m->fig.host_pid);
	set_u(o, "tasks", m->fig.tasks);
	set_u(o, "rss_bytes", m->fig.rss_bytes);
	set_u(o, "total_us", m->fig.t.end_us - m->fig.t.start_us);
	set_u(o, "rounds", m->fig.rounds);
	set_u(o, "throttle_percent", m->fig.slowest_percent);
	set_u(o, "wire_bytes", st->wire_bytes);
	set_u(o, "data_pages", st->data_pages);
	set_u(o, "zero_pages", st->zero_pages);
	set_u(o, "same_pages", st->same_pages);
	set_u(o, "shared_pages", st->shared_pages);
	set_u(o, "files", m->fig.shipped_files);
	set_u(o, "files_bytes", m->fig.shipped_bytes);
	set_u(o, "files_frozen_us", m->fig.ship_us);
	set_fs(o, dirs_get_stats(m->dirs));
	if (m->fig.t.running_us && m->fig.t.freeze_us) {
		unsigned int moved, lost;

		mnet_count(m, &moved, &lost);
		set_u(o, "connections_moved", moved);
		set_u(o, "connections_lost", lost);
		set_u(o, "downtime_us", downtime_us(m));
		json_object_set_new(o, "freeze_mode", json_string(freeze_mode(m)));
		set_u(o, "stop_us", m->fig.t.stopped_us - m->fig.t.freeze_us);
		set_u(o, "dump_us", m->fig.t.dumped_us - m->fig.t.stopped_us);
		set_u(o, "look_us", m->fig.t.look_us);
		set_u(o, "scan_us", m->fig.t.scanned_us - m->fig.t.dumped_us);
		set_u(o, "send_us", m->fig.t.sent_us - m->fig.t.scanned_us);
		set_u(o, "restore_us", m->fig.t.restored_us - m->fig.t.sent_us);
		set_u(o, "dest_images_us", m->fig.t.dest_images_us);
		set_u(o, "dest_criu_us", m->fig.t.dest_restore_us - m->fig.t.dest_images_us);
		set_u(o, "commit_us", m->fig.t.running_us - m->fig.t.restored_us);
		set_u(o, "dest_resume_us", m->fig.t.dest_resume_us);
		set_u(o, "rtt_us", m->fig.t.rtt_us);
		set_u(o, "remote_pages", m->fig.remote_pages);
		set_u(o, "eager_pages", m->fig.eager_pages);
		set_u(o, "final_pages", m->fig.final_pages);
		set_u(o, "early_pages", m->fig.early_pages);
		set_u(o, "present_pages", m->fig.present_pages);
		set_u(o, "faults", m->fig.faults);
		set_u(o, "faults_remote", m->fig.faults_remote);
		set_u(o, "fault_p50_us", m->fig.fault_p50_us);
		set_u(o, "fault_p99_us", m->fig.fault_p99_us);
		set_u(o, "fault_max_us", m->fig.fault_max_us);
		set_u(o, "degraded_us", m->fig.degraded_us);
		set_u(o, "fault_wait_us", m->fig.fault_wait_us);
		set_u(o, "store_peak_bytes", m->fig.store_peak_bytes);
		if (m->fig.ended[0])
			json_object_set_new(o, "ended", json_string(m->fig.ended));
		set_faults(o, m);
		set_u(o, "freeze_to_running_us", m->fig.t.running_us - m->fig.t.freeze_us);
	}
	return o;
}

void report_end(const struct mig *m)
{
	struct send_stats st = { 0 };

	mig_send_stats(m, &st);
	put(m, end_json(m, &st));
}

void report_waiting(const struct mig *m, const struct err *e)
{
	json_t *o = event(m, "link-lost");

	json_object_set_new(o, "reason", json_string(e->msg));
	put(m, o);
}

void report_findings(const struct findings *f, bool json, bool all)
{
	static const char *const names[] = { "info", "warning", "blocker" };

	for (size_t i = 0; i < f->n; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "event", json_string("finding"));
		json_object_set_new(o, "severity", json_string(names[f->v[i].severity]));
		json_object_set_new(o, "code", json_string(f->v[i].code));
		json_object_set_new(o, "text", json_string(f->v[i].text));
		json_object_set_new(o, "remedy", json_string(f->v[i].remedy));
		say_event(o, (struct say_how){ .json = json, .verbose = all });
	}
}

void report_needs(const struct needs *n, bool json, bool all)
{
	struct say_how how = { .json = json, .verbose = all };
	unsigned int same = 0;

	for (size_t i = 0; i < n->n; i++) {
		const struct need *k = &n->v[i];
		json_t *o = json_object();

		same += k->state == HAUL__FILE_STATE__FILE_SAME;
		json_object_set_new(o, "event", json_string("file"));
		json_object_set_new(o, "state", json_string(needs_word(k->state)));
		json_object_set_new(o, "path", shown(k->there));
		set_u(o, "bytes", k->file.size);
		say_event(o, how);
	}
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string("files"));
	set_u(o, "same", same);
	say_event(o, how);
}

void report_error(const struct err *e, bool json)
{
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string("error"));
	json_object_set_new(o, "source", json_string(err_src_name(e->src)));
	set_u(o, "code", (uint64_t)e->code);
	json_object_set_new(o, "text", json_string(e->msg));
	json_object_set_new(o, "remedy", json_string(e->fix));
	say_event(o, (struct say_how){ .json = json });
}
