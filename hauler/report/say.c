// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * say.c - prints events: for people a line that is rewritten on a terminal, plain lines elsewhere;
 * for programs one JSON object a line. Whatever is printed comes from the event.
 */
#include "hauler/report/say.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/page.h"
#include "common/printable.h"
#include "hauler/report/groups.h"

#define MIB 1048576.0

static bool line_open;

static double num(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static unsigned long long count(const json_t *o, const char *key)
{
	return (unsigned long long)json_integer_value(json_object_get(o, key));
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double ms(const json_t *o, const char *key)
{
	return num(o, key) / 1e3;
}

/* On a terminal the next line replaces the progress line. */
static void end_line(void)
{
	if (line_open)
		fputs("\r\033[K", stdout);
	line_open = false;
}

static void say_state(const json_t *o, struct say_how how)
{
	static const struct {
		const char *state, *text;
	} words[] = { { "connect", "connecting" },
		      { "prepare", "destination accepts; opening streams" },
		      { "freeze", "freeze" },
		      { "undo", "undoing: the process resumes here" } };
	const char *state = str(o, "state");

	if (how.quiet || (!strcmp(state, "freeze") && !how.verbose) ||
	    (!strcmp(state, "undo") && !json_is_true(json_object_get(o, "begun"))))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(state, words[i].state)) {
			end_line();
			printf("%8.3f s  %s\n", num(o, "time_s"), words[i].text);
		}
}

static void say_freeze(const json_t *o, struct say_how how)
{
	if (!how.verbose)
		return;
	end_line();
	printf("%8.3f s  freeze mode %s; writes tracked by %s\n", num(o, "time_s"),
	       str(o, "freeze_mode"), str(o, "tracking"));
}

/* Nothing for a link that was not measured. */
static const char *link_text(const json_t *o, char out[static 32])
{
	out[0] = 0;
	if (num(o, "link_Bps") > 0)
		snprintf(out, 32, ", %.0f MiB/s", num(o, "link_Bps") / MIB);
	return out;
}

static void say_round(const json_t *o, struct say_how how)
{
	char link[32];
	bool on = !strcmp(str(o, "verdict"), "round") || !strcmp(str(o, "verdict"), "throttle");

	if (how.quiet)
		return;
	end_line();
	printf("%8.3f s  round %llu: %.1f MiB in %.2f s%s; %.0f pages/s written; "
	       "stop now: %.0f ms%s%s\n",
	       num(o, "time_s"), count(o, "round"), num(o, "pages") * PAGE_BYTES / MIB,
	       num(o, "round_us") / 1e6, link_text(o, link), num(o, "dirty_pages_ps"),
	       ms(o, "predicted_downtime_us"), on ? "" : "; stopping: ", on ? "" : str(o, "why"));
}

static void say_throttle(const json_t *o, struct say_how how)
{
	if (how.quiet)
		return;
	end_line();
	printf("%8.3f s  throttled by %llu %% (%s): %s\n", num(o, "time_s"),
	       count(o, "throttle_percent"), str(o, "throttle_by"), str(o, "why"));
}

static void say_running(const json_t *o, struct say_how how)
{
	if (how.quiet)
		return;
	end_line();
	if (json_object_get(o, "remote_pages")) {
		printf("%8.3f s  running; %.1f MiB are still in the archive\n", num(o, "time_s"),
		       num(o, "remote_pages") * PAGE_BYTES / MIB);
		return;
	}
	printf("%8.3f s  running at %s; stopped for %.1f ms\n", num(o, "time_s"),
	       str(o, "destination"), ms(o, "downtime_us"));
}

static void say_progress(const json_t *o, struct say_how how)
{
	bool tty = isatty(STDOUT_FILENO);
	char link[32];

	if (how.quiet)
		return;
	printf("%s%8.3f s  ", tty ? "\r\033[K" : "", num(o, "time_s"));
	if (!strcmp(str(o, "state"), "rounds"))
		printf("round %llu: %llu pages, %.0f MiB on the wire%s; stop now: %.0f "
		       "ms",
		       count(o, "round"), count(o, "pages"), num(o, "wire_bytes") / MIB,
		       link_text(o, link), ms(o, "predicted_downtime_us"));
	else
		printf("filling: %llu pages left, %llu faults", count(o, "left_pages"),
		       count(o, "faults"));
	if (!tty)
		putchar('\n');
	line_open = tty;
}

static void say_fs(const json_t *o)
{
	if (!json_object_get(o, "fs_inodes"))
		return;
	printf("  files         %9llu inodes  %.1f MiB sent in %llu passes (%.1f on the wire), "
	       "first %.2f s; %.1f ms of it in the downtime; changes by %s\n",
	       count(o, "fs_inodes"), num(o, "fs_bytes") / MIB, count(o, "fs_passes"),
	       num(o, "fs_wire_bytes") / MIB, num(o, "fs_first_us") / 1e6, ms(o, "fs_frozen_us"),
	       str(o, "fs_watch"));
}

/* Without what it is to haul: "archive:" */
static const char *path_of(const json_t *o)
{
	const char *dest = str(o, "destination"), *colon = strchr(dest, ':');

	return colon ? colon + 1 : dest;
}

static void say_saved(const json_t *o)
{
	printf("\n%s (pid %llu, %llu task%s) is in %s as state %llu; it %s\n", str(o, "comm"),
	       count(o, "pid"), count(o, "tasks"), count(o, "tasks") == 1 ? "" : "s", path_of(o),
	       count(o, "archive_state"),
	       !strcmp(str(o, "left"), "ended")     ? "was ended"
	       : !strcmp(str(o, "left"), "stopped") ? "stays stopped"
	                                            : "runs on");
	printf("  stopped for   %9.1f ms   stop %.1f, dump %.1f, scan %.1f, write %.1f\n",
	       ms(o, "freeze_to_running_us"), ms(o, "stop_us"), ms(o, "dump_us"), ms(o, "scan_us"),
	       ms(o, "send_us"));
	printf("  total         %9.2f s    %llu round%s\n", num(o, "total_us") / 1e6,
	       count(o, "rounds"), count(o, "rounds") == 1 ? "" : "s");
	printf("  archive       %9.1f MiB  with all its states; %.1f MiB resident\n",
	       num(o, "archive_bytes") / MIB, num(o, "rss_bytes") / MIB);
}

static void say_loaded(const json_t *o)
{
	printf("\n%s (pid %llu, %llu task%s) runs, as it was in state %llu of %s\n", str(o, "comm"),
	       count(o, "pid"), count(o, "tasks"), count(o, "tasks") == 1 ? "" : "s",
	       count(o, "archive_state"), path_of(o));
	printf("  total         %9.2f s    until every page was in place\n",
	       num(o, "total_us") / 1e6);
	printf("  after resume  %9llu pages came lazily; %llu faults, p50 %llu us, p99 %llu us\n",
	       count(o, "remote_pages"), count(o, "faults"), count(o, "fault_p50_us"),
	       count(o, "fault_p99_us"));
}

static void say_done(const json_t *o, struct say_how how)
{
	double rss = num(o, "rss_bytes");
	const char *did = str(o, "did");

	/* recovered: an earlier haul did the rest, and only that one knew the times */
	if (how.quiet || !json_object_get(o, "downtime_us"))
		return;
	end_line();
	if (*did) {
		(!strcmp(did, "save") ? say_saved : say_loaded)(o);
		return;
	}
	bool ended = str(o, "ended")[0];

	printf("\n%s (pid %llu, %llu task%s) %s on %s%s%s\n", str(o, "comm"), count(o, "pid"),
	       count(o, "tasks"), count(o, "tasks") == 1 ? "" : "s", ended ? "ran" : "now runs",
	       str(o, "destination"), ended ? " and has ended there: " : "", str(o, "ended"));
	if (json_object_get(o, "host_pid"))
		printf("  pid there     %9llu      it is %llu in a pid namespace of its own\n",
		       count(o, "host_pid"), count(o, "pid"));
	printf("  downtime      %9.1f ms   stop %.1f, dump %.1f, scan %.1f, send %.1f, "
	       "restore %.1f, commit %.1f (freeze by %s)\n",
	       ms(o, "downtime_us"), ms(o, "stop_us"), ms(o, "dump_us"), ms(o, "scan_us"),
	       ms(o, "send_us"), ms(o, "restore_us"), ms(o, "commit_us"), str(o, "freeze_mode"));
	if (count(o, "files"))
		printf("  files         %9llu      %.1f MiB brought, %.1f ms of it in the "
		       "downtime\n",
		       count(o, "files"), num(o, "files_bytes") / MIB, ms(o, "files_frozen_us"));
	printf("  total         %9.2f s    %llu round%s\n", num(o, "total_us") / 1e6,
	       count(o, "rounds"), count(o, "rounds") == 1 ? "" : "s");
	if (count(o, "throttle_percent"))
		printf("  throttled     %9llu %%    at most; undone before it was stopped\n",
		       count(o, "throttle_percent"));
	printf("  on the wire   %9.1f MiB  %.2f of %.1f MiB resident; %llu zero, %llu unchanged, "
	       "%llu shared pages not sent\n",
	       num(o, "wire_bytes") / MIB, rss > 0 ? num(o, "wire_bytes") / rss : 0.0, rss / MIB,
	       count(o, "zero_pages"), count(o, "same_pages"), count(o, "shared_pages"));
	if (count(o, "connections_moved") || count(o, "connections_lost"))
		printf("  connections   %9llu moved; %llu were not accepted, or were closed and "
		       "not "
		       "sent, in time: reset\n",
		       count(o, "connections_moved"), count(o, "connections_lost"));
	say_fs(o);
	printf("  after resume  %9llu pages came lazily from the source; %llu faults, "
	       "p50 %llu us, p99 %llu us\n",
	       count(o, "remote_pages"), count(o, "faults"), count(o, "fault_p50_us"),
	       count(o, "fault_p99_us"));
	printf("  degraded      %9.1f ms   after it ran there, until its threads waited for pages "
	       "for less than a tenth of the time; %.1f ms waited in all\n",
	       ms(o, "degraded_us"), ms(o, "fault_wait_us"));
}

/* A process of the stopped copy was killed, so nothing here can be resumed as it was. */
static void say_no_copy(const json_t *o)
{
	const char *dest = str(o, "destination"), *id = str(o, "migration");

	fprintf(stderr,
	        "haul: the process was handed over to %s, and is not known to be well there.\n"
	        "      The copy on this host (pid %llu) is dead, or a part of it: it cannot be "
	        "resumed.\n"
	        "      %s\n"
	        "        haul resolve %s --drop-here  ends what is left here\n",
	        dest, count(o, "pid"),
	        count(o, "code") == EOWNERDEAD ? "The one there is dead, too."
	                                       : "Look whether the one there runs; then:",
	        id);
}

static void say_lost(const json_t *o)
{
	const char *dest = str(o, "destination"), *id = str(o, "migration");

	if (json_is_false(json_object_get(o, "copy_here"))) {
		say_no_copy(o);
		return;
	}
	if (count(o, "code") == EOWNERDEAD) {
		fprintf(stderr,
		        "haul: no copy is left at %s. The stopped copy on this host (pid %llu) is "
		        "the last one.\n"
		        "      You decide: haul resolve %s\n"
		        "        --keep-here  it resumes here, as it was when it was stopped; what "
		        "it did\n"
		        "                     at %s since then is lost\n"
		        "        --drop-here  it is killed\n",
		        dest, count(o, "pid"), id, dest);
		return;
	}
	fprintf(stderr,
	        "haul: the process was handed over to %s, and may not be running there.\n      The "
	        "copy on this host (pid %llu) stays stopped. When %s can be reached again:\n       "
	        " haul recover %s\n      If it is gone for good, decide yourself: haul resolve "
	        "%s\n        --keep-here  only if the process certainly does not run on %s: it "
	        "resumes\n                     here, as it was when it was stopped\n        "
	        "--drop-here  if it runs there with all its pages: the copy here is killed\n",
	        dest, count(o, "pid"), dest, id, id, dest);
}

static void say_link_lost(const json_t *o, struct say_how how)
{
	(void)how;
	end_line();
	fprintf(stderr,
	        "%8.3f s  the link is lost: %s\n            the copy here stays stopped; "
	        "reconnecting (Ctrl-C: stop trying)\n",
	        num(o, "time_s"), str(o, "reason"));
}

static void say_file(const json_t *o, struct say_how how)
{
	const char *state = str(o, "state");

	if (how.verbose || (strcmp(state, "same") && strcmp(state, "with it")))
		printf("  %-8s  %s\n", state, str(o, "path"));
}

static void say_files(const json_t *o, struct say_how how)
{
	(void)how;
	if (count(o, "same"))
		printf("  %-8s  %llu files are the same there\n", "same", count(o, "same"));
}

static void say_error(const json_t *o, struct say_how how)
{
	(void)how;
	end_line();
	fflush(stdout);
	fprintf(stderr, "haul: %s\n", str(o, "text"));
	if (*str(o, "remedy"))
		fprintf(stderr, "      remedy: %s\n", str(o, "remedy"));
}

/* What a haul that was run by hauld wrote to standard error */
static void say_stderr(const json_t *o, struct say_how how)
{
	(void)how;
	end_line();
	fflush(stdout);
	fprintf(stderr, "%s\n", str(o, "text"));
}

static void say_peer(const json_t *o, struct say_how how)
{
	const json_t *fits = json_object_get(o, "fits");

	(void)how;
	printf("%-24s port %llu  ", str(o, "host"), count(o, "port"));
	if (!json_is_true(json_object_get(o, "reachable")))
		printf("not reachable: %s\n", str(o, "error"));
	else
		printf("%s, CRIU %s, Linux %s, %.0f MiB free%s\n", str(o, "program"),
		       str(o, "criu"), str(o, "kernel"), num(o, "mem_free_bytes") / MIB,
		       !fits                ? ""
		       : json_is_true(fits) ? ": it fits"
		                            : ": too little");
}

static void say_archive_state(const json_t *o, struct say_how how)
{
	(void)how;
	printf("state %-4llu %s  %s (pid %llu, %llu task%s) of %s, left %s; %.1f MiB in %llu "
	       "pages\n",
	       count(o, "archive_state"), str(o, "time"), str(o, "comm"), count(o, "pid"),
	       count(o, "tasks"), count(o, "tasks") == 1 ? "" : "s", str(o, "host"), str(o, "left"),
	       num(o, "pages") * PAGE_BYTES / MIB, count(o, "pages"));
}

static void say_archive_use(const json_t *o, struct say_how how)
{
	(void)how;
	printf("state %-4llu was loaded on %s (pid %llu)\n", count(o, "archive_state"),
	       str(o, "host"), count(o, "pid"));
}

static void say_archive_verified(const json_t *o, struct say_how how)
{
	if (!how.quiet)
		printf("state %-4llu is whole: %llu pages\n", count(o, "archive_state"),
		       count(o, "pages"));
}

static void say_archive_diff(const json_t *o, struct say_how how)
{
	(void)how;
	printf("%llu pages are the same, %llu have changed, %llu are new, %llu are gone\n",
	       count(o, "same_pages"), count(o, "changed_pages"), count(o, "new_pages"),
	       count(o, "gone_pages"));
}

static void say_archive_pruned(const json_t *o, struct say_how how)
{
	if (!how.quiet)
		printf("%llu states are left; %.1f MiB were given back\n", count(o, "states"),
		       num(o, "freed_bytes") / MIB);
}

static void say_archive_exported(const json_t *o, struct say_how how)
{
	if (!how.quiet)
		printf("%s\n", str(o, "command"));
}

static const struct {
	const char *event;
	void (*say)(const json_t *o, struct say_how how);
} table[] = {
	{ "state", say_state },
	{ "freeze", say_freeze },
	{ "round", say_round },
	{ "throttle", say_throttle },
	{ "running", say_running },
	{ "progress", say_progress },
	{ "done", say_done },
	{ "link-lost", say_link_lost },
	{ "file", say_file },
	{ "files", say_files },
	{ "error", say_error },
	{ "stderr", say_stderr },
	{ "peer", say_peer },
	{ "archive-state", say_archive_state },
	{ "archive-use", say_archive_use },
	{ "archive-verified", say_archive_verified },
	{ "archive-diff", say_archive_diff },
	{ "archive-pruned", say_archive_pruned },
	{ "archive-exported", say_archive_exported },
};

static void clean_text(json_t *o)
{
	if (printable_is(json_string_value(o)))
		return;
	AUTO(mem) char *copy = strdup(json_string_value(o));

	json_string_set(o, copy ? printable(copy) : "");
}

void say_clean(json_t *o)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_string(o))
		clean_text(o);
	json_array_foreach(o, i, v)
	{
		say_clean(v);
	}
	json_object_foreach(o, key, v)
	{
		say_clean(v);
	}
}

static void say_json(const json_t *o)
{
	AUTO(mem)
	char *s = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));

	if (s)
		puts(s);
}

void say_event(json_t *o, struct say_how how)
{
	say_clean(o);
	const char *name = str(o, "event");

	if (how.json)
		say_json(o);
	else if (!strcmp(name, "finding"))
		groups_add(o, how.verbose);
	else
		groups_print();
	for (size_t i = 0; !how.json && i < ARRAY_SIZE(table); i++)
		if (!strcmp(name, table[i].event))
			table[i].say(o, how);
	if (!strcmp(name, "failed") && !strcmp(str(o, "state"), "lost")) {
		end_line();
		say_lost(o);
	}
	fflush(stdout);
	json_decref(o);
}
