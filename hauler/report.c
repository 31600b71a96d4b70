// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * report.c - what the user sees: a line that is rewritten on a terminal, plain
 * lines elsewhere, one JSON object a line with --json; the report at the end.
 */
#include "hauler/hauler.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "transport/haul.pb-c.h"

#define MIB               1048576.0
#define PROGRESS_EVERY_US 500000
#define PROGRESS_PLAIN_US 2000000

static uint64_t last_progress_us;
static bool line_open;

static double since_s(const struct mig *m)
{
	return (double)(now_us() - m->t.start_us) / 1e6;
}

static void put_json(json_t *o)
{
	char *s = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));

	if (s)
		puts(s);
	fflush(stdout);
	free(s);
	json_decref(o);
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

/* On a terminal the progress line is replaced by what comes next. */
static void end_line(void)
{
	if (line_open)
		fputs("\r\033[K", stdout);
	line_open = false;
}

void rep_state(const struct mig *m)
{
	if (m->opt->json) {
		json_t *o = event(m, "state");

		json_object_set_new(o, "state", json_string(mig_state_name(m->state)));
		put_json(o);
		return;
	}
	if (m->opt->quiet)
		return;
	static const char *const text[MIG_NSTATES] = {
		[MIG_CONNECT] = "connecting",
		[MIG_PREPARE] = "destination accepts; opening streams",
		[MIG_UNDO] = "undoing: the process goes on here",
	};

	if (m->state == MIG_FREEZE && m->opt->verbose)
		printf("%8.3f s  freeze\n", since_s(m));
	/* before the streams there was nothing to undo */
	if (!text[m->state] || (m->state == MIG_UNDO && !m->send))
		return;
	end_line();
	printf("%8.3f s  %s\n", since_s(m), text[m->state]);
	fflush(stdout);
}

void rep_freeze_mode(const struct mig *m)
{
	const char *tracked = trk_kind_name(m->trk_kind);

	if (m->opt->json) {
		json_t *o = event(m, "freeze");

		json_object_set_new(o, "freeze_mode", json_string(ours_mode(m)));
		json_object_set_new(o, "tracking", json_string(tracked));
		put_json(o);
	} else if (m->opt->verbose) {
		end_line();
		printf("%8.3f s  the freeze will be by %s; writes tracked by %s\n", since_s(m),
		       ours_mode(m), tracked);
		fflush(stdout);
	}
}

/* Different pages written per second, over the last round. */
static double written_ps(const struct mig *m)
{
	return m->round_us ? (double)m->pol.written_pages * 1e6 / (double)m->round_us : 0;
}

static void round_json(const struct mig *m)
{
	json_t *o = event(m, "round");

	set_u(o, "round", m->pol.round + m->pol.in_round);
	json_object_set_new(o, "cut", json_boolean(m->pol.in_round));
	set_u(o, "pages", m->round_pages);
	set_u(o, "round_us", m->round_us);
	json_object_set_new(o, "link_Bps", json_real(m->pol.link_Bps));
	json_object_set_new(o, "dirty_pages_ps", json_real(written_ps(m)));
	set_u(o, "predicted_left_pages", m->answer.left_pages);
	set_u(o, "predicted_downtime_us", m->answer.downtime_us);
	set_u(o, "predicted_degraded_us", m->answer.degraded_us);
	set_u(o, "predicted_total_us", m->answer.total_us);
	json_object_set_new(o, "verdict", json_string(pol_verdict_name(m->answer.verdict)));
	json_object_set_new(o, "why", json_string(m->answer.why));
	put_json(o);
}

void rep_round(const struct mig *m, bool final)
{
	if (m->opt->json) {
		if (!final)
			round_json(m);
		return;
	}
	if (m->opt->quiet)
		return;
	end_line();
	if (final) {
		printf("%8.3f s  running at %s; stopped for %.1f ms\n", since_s(m), m->opt->dest,
		       (double)(m->t.running_us - m->t.freeze_us - m->t.rtt_us / 2) / 1e3);
		fflush(stdout);
		return;
	}
	printf("%8.3f s  round %u: %.1f MiB in %.2f s, %.0f MiB/s; %.0f pages/s written; "
	       "stop now: %.0f ms%s%s\n",
	       since_s(m), m->pol.round + m->pol.in_round,
	       (double)m->round_pages * ENG_PAGE_BYTES / MIB, (double)m->round_us / 1e6,
	       m->pol.link_Bps / MIB, written_ps(m), (double)m->answer.downtime_us / 1e3,
	       m->answer.verdict == POL_ROUND ? "" : "; stopping: ",
	       m->answer.verdict == POL_ROUND ? "" : m->answer.why);
	fflush(stdout);
}

static void progress_text(struct mig *m, char *out, size_t bytes)
{
	struct send_stats st = { 0 };

	mig_send_stats(m, &st);
	if (m->state == MIG_ROUNDS)
		snprintf(
		        out, bytes,
		        "round %u: %llu pages, %.0f MiB on the wire; %.0f MiB/s; stop now: %.0f ms",
		        m->pol.round + 1, (unsigned long long)st.pages, (double)st.wire_bytes / MIB,
		        m->pol.link_Bps / MIB, (double)m->answer.downtime_us / 1e3);
	else
		snprintf(out, bytes, "filling: %llu pages left, %llu faults",
		         (unsigned long long)m->peer_left_pages,
		         (unsigned long long)m->peer_faults);
}

void rep_progress(struct mig *m, bool force)
{
	bool tty = isatty(STDOUT_FILENO);
	uint64_t now = now_us();
	char text[160];

	if (m->opt->quiet || !m->send)
		return;
	if (!force && now - last_progress_us < (tty ? PROGRESS_EVERY_US : PROGRESS_PLAIN_US))
		return;
	last_progress_us = now;
	if (m->opt->json) {
		struct send_stats st;
		json_t *o = event(m, "progress");

		mig_send_stats(m, &st);
		json_object_set_new(o, "state", json_string(mig_state_name(m->state)));
		set_u(o, "wire_bytes", st.wire_bytes);
		set_u(o, "left_pages", m->peer_left_pages);
		set_u(o, "faults", m->peer_faults);
		put_json(o);
		return;
	}
	progress_text(m, text, sizeof(text));
	if (tty)
		printf("\r\033[K%8.3f s  %s", since_s(m), text);
	else
		printf("%8.3f s  %s\n", since_s(m), text);
	line_open = tty;
	fflush(stdout);
}

static uint64_t downtime_us(const struct mig *m)
{
	return m->t.running_us - m->t.freeze_us - m->t.rtt_us / 2;
}

static void set_fs(json_t *o, const struct fs_stats *st)
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

static void end_json(struct mig *m, const struct send_stats *st)
{
	json_t *o = event(m, m->state == MIG_DONE ? "done" : "failed");

	json_object_set_new(o, "state", json_string(mig_state_name(m->state)));
	set_u(o, "pid", (uint64_t)m->opt->pid);
	set_u(o, "tasks", m->tasks);
	set_u(o, "rss_bytes", m->rss_bytes);
	set_u(o, "total_us", m->t.end_us - m->t.start_us);
	set_u(o, "rounds", m->rounds);
	set_u(o, "wire_bytes", st->wire_bytes);
	set_u(o, "data_pages", st->data_pages);
	set_u(o, "zero_pages", st->zero_pages);
	set_u(o, "same_pages", st->same_pages);
	set_u(o, "files", m->shipped_files);
	set_u(o, "files_bytes", m->shipped_bytes);
	set_u(o, "files_frozen_us", m->ship_us);
	set_fs(o, fs_get_stats(m->fs));
	if (m->t.running_us && m->t.freeze_us) {
		unsigned int moved, lost;

		mnet_count(m, &moved, &lost);
		set_u(o, "connections_moved", moved);
		set_u(o, "connections_lost", lost);
		set_u(o, "downtime_us", downtime_us(m));
		json_object_set_new(o, "freeze_mode", json_string(ours_mode(m)));
		set_u(o, "stop_us", m->t.stopped_us - m->t.freeze_us);
		set_u(o, "dump_us", m->t.dumped_us - m->t.stopped_us);
		set_u(o, "look_us", m->t.look_us);
		set_u(o, "scan_us", m->t.scanned_us - m->t.dumped_us);
		set_u(o, "send_us", m->t.sent_us - m->t.scanned_us);
		set_u(o, "restore_us", m->t.restored_us - m->t.sent_us);
		set_u(o, "dest_images_us", m->t.dest_images_us);
		set_u(o, "dest_criu_us", m->t.dest_restore_us - m->t.dest_images_us);
		set_u(o, "commit_us", m->t.running_us - m->t.restored_us);
		set_u(o, "dest_resume_us", m->t.dest_resume_us);
		set_u(o, "rtt_us", m->t.rtt_us);
		set_u(o, "remote_pages", m->remote_pages);
		set_u(o, "eager_pages", m->eager_pages);
		set_u(o, "final_pages", m->final_pages);
		set_u(o, "present_pages", m->present_pages);
		set_u(o, "faults", m->faults);
		set_u(o, "faults_remote", m->faults_remote);
		set_u(o, "fault_p50_us", m->fault_p50_us);
		set_u(o, "fault_p99_us", m->fault_p99_us);
		set_u(o, "fault_max_us", m->fault_max_us);
		set_u(o, "freeze_to_running_us", m->t.running_us - m->t.freeze_us);
	}
	put_json(o);
}

static void text_fs(const struct fs_stats *st)
{
	if (!st)
		return;
	printf("  files         %9llu inodes  %.1f MiB sent in %u passes (%.1f on the wire), first "
	       "%.2f s; %.1f ms of it in the downtime; changes by %s\n",
	       (unsigned long long)st->inodes, (double)st->sent_bytes / MIB, st->passes,
	       (double)st->wire_bytes / MIB, (double)st->first_us / 1e6,
	       (double)st->frozen_us / 1e3, st->watch);
}

static void end_text(struct mig *m, const struct send_stats *st)
{
	if (m->t.freeze_us == 0) /* recovered: another haul did the rest, and knew the times */
		return;

	const struct mig_times *t = &m->t;

	end_line();
	printf("\n%s (pid %d, %u task%s) now runs on %s\n", m->comm, m->opt->pid, m->tasks,
	       m->tasks == 1 ? "" : "s", m->opt->dest);
	printf("  downtime      %9.1f ms   stop %.1f, dump %.1f, scan %.1f, send %.1f, "
	       "restore %.1f, commit %.1f (freeze by %s)\n",
	       (double)downtime_us(m) / 1e3, (double)(t->stopped_us - t->freeze_us) / 1e3,
	       (double)(t->dumped_us - t->stopped_us) / 1e3,
	       (double)(t->scanned_us - t->dumped_us) / 1e3,
	       (double)(t->sent_us - t->scanned_us) / 1e3,
	       (double)(t->restored_us - t->sent_us) / 1e3,
	       (double)(t->running_us - t->restored_us) / 1e3, ours_mode(m));
	if (m->shipped_files)
		printf("  files         %9u      %.1f MiB brought, %.1f ms of it in the downtime\n",
		       m->shipped_files, (double)m->shipped_bytes / MIB, (double)m->ship_us / 1e3);
	printf("  total         %9.2f s    %u round%s\n", (double)(t->end_us - t->start_us) / 1e6,
	       m->rounds, m->rounds == 1 ? "" : "s");
	printf("  on the wire   %9.1f MiB  %.2f of %.1f MiB resident; %llu zero, %llu unchanged "
	       "pages not sent\n",
	       (double)st->wire_bytes / MIB,
	       m->rss_bytes ? (double)st->wire_bytes / (double)m->rss_bytes : 0.0,
	       (double)m->rss_bytes / MIB, (unsigned long long)st->zero_pages,
	       (unsigned long long)st->same_pages);
	unsigned int moved, lost;

	mnet_count(m, &moved, &lost);
	if (moved || lost)
		printf("  connections   %9u moved; %u were not accepted, or were closed and not "
		       "sent, in "
		       "time: reset\n",
		       moved, lost);
	text_fs(fs_get_stats(m->fs));
	printf("  after resume  %9llu pages came lazily from the source; %llu faults, "
	       "p50 %u us, p99 %u us\n",
	       (unsigned long long)m->remote_pages, (unsigned long long)m->faults, m->fault_p50_us,
	       m->fault_p99_us);
}

static void end_lost(const struct mig *m)
{
	unsigned long long id = (unsigned long long)m->route;

	end_line();
	fprintf(stderr,
	        "haul: the process was handed over to %s, and is not known to be well there.\n"
	        "      The copy on this host (pid %d) stays stopped. When %s can be reached "
	        "again:\n"
	        "        haul recover %016llx\n"
	        "      When it is gone for good, it is yours to say: haul resolve %016llx\n"
	        "        --keep-here  only if the process certainly does not run at %s: it goes "
	        "on\n"
	        "                     here, as it was when it was stopped\n"
	        "        --drop-here  if it runs there with all it needs: the copy here is "
	        "killed\n",
	        m->opt->dest, m->opt->pid, m->opt->dest, id, id, m->opt->dest);
}

void rep_end(struct mig *m)
{
	struct send_stats st = { 0 };

	mig_send_stats(m, &st);
	if (m->opt->json)
		end_json(m, &st);
	else if (m->state == MIG_DONE && !m->opt->quiet)
		end_text(m, &st);
	if (m->state == MIG_LOST)
		end_lost(m);
	fflush(stdout);
}

void rep_waiting(const struct mig *m, const struct err *e)
{
	if (m->opt->json) {
		json_t *o = event(m, "link-lost");

		json_object_set_new(o, "reason", json_string(e->msg));
		put_json(o);
		return;
	}
	end_line();
	fprintf(stderr,
	        "%8.3f s  the link is lost: %s\n"
	        "            the copy here stays stopped; trying again (Ctrl-C: stop trying)\n",
	        since_s(m), e->msg);
}

static json_t *finding_json(const struct finding *f)
{
	static const char *const names[] = { "info", "warning", "blocker" };
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string("finding"));
	json_object_set_new(o, "severity", json_string(names[f->severity]));
	json_object_set_new(o, "code", json_string(f->code));
	json_object_set_new(o, "text", json_string(f->text));
	json_object_set_new(o, "remedy", json_string(f->remedy));
	return o;
}

void rep_findings(const struct findings *f, bool json)
{
	static const char *const words[] = { "note   ", "warning", "BLOCKER" };

	for (size_t i = 0; i < f->n; i++) {
		if (json) {
			put_json(finding_json(&f->v[i]));
			continue;
		}
		printf("  %s  %-18s %s\n", words[f->v[i].severity], f->v[i].code, f->v[i].text);
		if (f->v[i].remedy[0] && f->v[i].severity != SEV_INFO)
			printf("           %-18s -> %s\n", "", f->v[i].remedy);
	}
	fflush(stdout);
}

void rep_needs(const struct needs *n, bool json, bool all)
{
	unsigned int same = 0;

	for (size_t i = 0; i < n->n; i++) {
		const struct need *k = &n->v[i];

		same += k->state == HAUL__FILE_STATE__FILE_SAME;
		if (json) {
			json_t *o = json_object();

			json_object_set_new(o, "event", json_string("file"));
			json_object_set_new(o, "state", json_string(needs_word(k->state)));
			json_object_set_new(o, "path", json_string(k->there));
			set_u(o, "bytes", k->file.size);
			put_json(o);
		} else if (all || (k->state != HAUL__FILE_STATE__FILE_SAME &&
		                   k->state != HAUL__FILE_STATE__FILE_NONE)) {
			printf("  %-8s  %s\n", needs_word(k->state), k->there);
		}
	}
	if (!json && same)
		printf("  %-8s  %u files are the same there\n", "same", same);
	fflush(stdout);
}

void rep_error(const struct err *e, bool json)
{
	if (json) {
		json_t *o = json_object();

		json_object_set_new(o, "event", json_string("error"));
		json_object_set_new(o, "source", json_string(err_src_name(e->src)));
		set_u(o, "code", (uint64_t)e->code);
		json_object_set_new(o, "text", json_string(e->msg));
		json_object_set_new(o, "remedy", json_string(e->fix));
		put_json(o);
		return;
	}
	end_line();
	fflush(stdout);
	fprintf(stderr, "haul: %s\n", e->msg);
	if (e->fix[0])
		fprintf(stderr, "      remedy: %s\n", e->fix);
}
