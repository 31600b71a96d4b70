// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * unit.c - the berth of a service of systemd's: the unit of the same name is started with a stand-in for its
 * program, the tree is restored in its cgroup, and becomes its main process.
 */
#include "agent/berth/priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/host/systemctl.h"
#include "common/host/unitfile.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"

#define STAND_IN_PROGRAM "/bin/sleep"
#define STAND_IN         STAND_IN_PROGRAM " infinity"
#define START_LIMIT_MS   170000 /* the source waits for 180 s */
#define MAIN_LIMIT_MS    30000
#define LOOK_EVERY_US    50000

/* What is done when the tree runs; by a thread, since systemd takes its time. */
struct settling {
	char unit[SYSTEMCTL_UNIT_BYTES];
	pid_t stand_in, root;
};

static pid_t main_pid(const char *unit)
{
	char text[1024], value[32];

	if (systemctl_show(unit, "--property=MainPID", text, sizeof(text)) < 0)
		return 0;
	systemctl_value(text, "MainPID", value, sizeof(value));
	return (pid_t)atoi(value);
}

/* ---- the offer ---- */

/* The process keeps what it was started with; what systemd does with it from here on is this host's. */
static int compare(const Haul__Offer *o, struct findings *f)
{
	char there[UNITFILE_LINE], here[UNITFILE_LINE];
	AUTO(mem) char *own = malloc(UNITFILE_BYTES);

	if (!own)
		return -ENOMEM;
	if (!o->unit_settings[0] || unitfile_settings(o->unit, own) < 0 || !own[0])
		return 0;
	unsigned int n = unitfile_only(o->unit_settings, own, there),
	             k = unitfile_only(own, o->unit_settings, here);

	if (n + k == 0)
		return 0;
	return finding_add(
	        f, SEV_WARNING, "unit-differs",
	        "compare \"systemctl cat\" of both; systemctl daemon-reload behind a change",
	        "%s has other settings at the destination: %u only at the source%s%s, %u "
	        "only there%s%s",
	        o->unit, n, n ? ", such as " : "", there, k, k ? ", such as " : "", here);
}

static int judge(const Haul__Offer *o, struct findings *f)
{
	char text[2048], load[64], active[64];

	if (o->owned)
		return finding_add(f, SEV_BLOCKER, "unit-owner", "root may",
		                   "%s is for root to move at the destination; it is not made",
		                   o->unit);
	int r = systemctl_show(o->unit, "--property=LoadState,ActiveState", text, sizeof(text));

	if (r == -ETIMEDOUT)
		return finding_add(
		        f, SEV_BLOCKER, "unit-silent", "try again when that host is less busy",
		        "systemd at the destination does not answer for %s in time", o->unit);
	if (r < 0)
		return finding_add(f, SEV_BLOCKER, "unit-missing",
		                   "move it as a process, by its pid",
		                   "%s is not known to a systemd at the destination", o->unit);
	if (o->into_root[0])
		return finding_add(f, SEV_BLOCKER, "berth-unit", "leave out --into-root",
		                   "--into-root cannot be combined with a service of systemd's");
	systemctl_value(text, "LoadState", load, sizeof(load));
	systemctl_value(text, "ActiveState", active, sizeof(active));
	if (strcmp(load, "loaded") != 0)
		return finding_add(f, SEV_BLOCKER, "unit-missing",
		                   "install it there, with the same settings",
		                   "%s is not installed at the destination", o->unit);
	if (strcmp(active, "inactive") != 0 && strcmp(active, "failed") != 0)
		return finding_add(f, SEV_BLOCKER, "unit-active", "systemctl stop it there",
		                   "%s is in use at the destination", o->unit);
	return compare(o, f);
}

static int offer(struct wrk *w, const Haul__Offer *o, struct findings *f, struct err *e)
{
	if (!systemctl_unit_ok(o->unit))
		return err_set(e, ERR_PEER, EBADMSG, "a unit with a bad name");
	snprintf(w->keep->unit, sizeof(w->keep->unit), "%s", o->unit);
	return judge(o, f) < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

/* ---- room ---- */

/* Before it runs its program systemd's helper has that pid, and makes the namespaces of the unit meanwhile. */
static bool is_stand_in(pid_t pid)
{
	char path[32];
	struct stat it, wanted;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return pid > 0 && stat(path, &it) == 0 && stat(STAND_IN_PROGRAM, &wanted) == 0 &&
	       it.st_dev == wanted.st_dev && it.st_ino == wanted.st_ino;
}

/* Has the start ended without a program? "systemctl start" has made its job before it returned. */
static bool has_failed(const char *text, char *why, size_t bytes)
{
	char active[64], job[64], result[64], condition[16];

	systemctl_value(text, "ActiveState", active, sizeof(active));
	systemctl_value(text, "Job", job, sizeof(job));
	systemctl_value(text, "Result", result, sizeof(result));
	systemctl_value(text, "ConditionResult", condition, sizeof(condition));
	snprintf(why, bytes, "%s",
	         strcmp(condition, "no") == 0 ? "a condition of the unit does not hold" : result);
	return atoi(job) == 0 && (strcmp(active, "failed") == 0 || strcmp(active, "inactive") == 0);
}

static int wait_started(struct wrk *w, struct err *e)
{
	uint64_t deadline = deadline_in_ms(START_LIMIT_MS);
	const char *unit = w->keep->unit;
	char text[1024], pid[32], why[80];

	for (;;) {
		int r = systemctl_show(unit,
		                       "--property=MainPID,ActiveState,Job,Result,ConditionResult",
		                       text, sizeof(text));

		systemctl_value(r < 0 ? "" : text, "MainPID", pid, sizeof(pid));
		w->keep->berth_pid = (pid_t)atoi(pid);
		if (is_stand_in(w->keep->berth_pid))
			break;
		if (r == 0 && has_failed(text, why, sizeof(why))) {
			err_set(e, ERR_TARGET, ECANCELED, "systemd does not start %s: %s", unit,
			        why);
			return err_fix(e, "see systemctl status %s at the destination", unit);
		}
		if (now_us() > deadline)
			return err_set(e, ERR_SYS, ETIMEDOUT, "systemd has not started %s in %d s",
			               unit, START_LIMIT_MS / 1000);
		usleep(LOOK_EVERY_US);
	}
	w->keep->berth_start = procs_start(w->keep->berth_pid);
	return 0;
}

static int find_cgroup(struct wrk *w, struct err *e)
{
	char mount[256];
	AUTO(mem) char *group = frost_cgroup_of(w->keep->berth_pid);

	if (!group || frost_mount(mount, sizeof(mount)) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "%s has no cgroup of version 2", w->keep->unit);
	snprintf(w->berth->dir, sizeof(w->berth->dir), "%s%s", mount, group);
	return 0;
}

static int start(struct wrk *w, struct err *e)
{
	const char *unit = w->keep->unit;

	w->keep->unit_changed = true;
	if (systemctl_change(unit, SYSTEMCTL_ARRIVING, STAND_IN, e) < 0 ||
	    systemctl_run("daemon-reload", NULL, e) < 0 || systemctl_run("start", unit, e) < 0 ||
	    wait_started(w, e) < 0)
		return err_code(e);
	return find_cgroup(w, e);
}

static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	struct criu *before = w->criu;

	w->criu = NULL;
	int r = root ? criu_spawn_rooted(&w->criu, w->conf->criu_path, root, v, n, e)
	             : criu_spawn_beside(&w->criu, w->conf->criu_path, w->keep->berth_pid, v, n, e);

	if (r == 0 && (r = frost_enter(w->berth->dir, criu_pid(w->criu))) < 0)
		err_set(e, ERR_SYS, -r, "%s: %s", w->berth->dir, strerror(-r));
	criu_free(before);
	return r;
}

/* ---- afterwards ---- */

static void end_stand_in(const char *unit, pid_t pid, pid_t root)
{
	uint64_t deadline = deadline_in_ms(MAIN_LIMIT_MS);

	while (main_pid(unit) != root) {
		if (now_us() > deadline) {
			log_err("systemd does not take pid %d for the main process of %s: pid %d "
			        "stands in for it",
			        root, unit, pid);
			return;
		}
		usleep(LOOK_EVERY_US);
	}
	kill(pid, SIGKILL);
}

/* The program wrote it at the source; "systemctl reload" and the like may read it. */
static void write_pid_file(const char *unit, pid_t root)
{
	char text[1024], path[SYSTEMCTL_VALUE_BYTES];

	if (systemctl_show(unit, "--property=PIDFile", text, sizeof(text)) < 0)
		return;
	systemctl_value(text, "PIDFile", path, sizeof(path));
	if (path[0] != '/')
		return;
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%d\n", root) < 0)
		log_warn("PIDFile= of %s, %s: %s", unit, path, strerror(errno));
}

/*
 * The unit's own settings again, and nothing of an earlier departure. Not while pages are missing: if the
 * program crashed then, Restart= would start another one beside the copy that the source keeps.
 */
static void over(struct wrk *w)
{
	const char *unit = w->keep->unit;
	struct err e = ERR_INIT;

	if (!w->berth->settling)
		return;
	pthread_join(w->berth->thread, NULL);
	w->berth->settling = false;
	write_pid_file(unit, w->root_pid);

	systemctl_unchange(unit, SYSTEMCTL_ARRIVING);
	systemctl_unchange(unit, SYSTEMCTL_LEAVING);
	systemctl_unchange(unit, SYSTEMCTL_AWAY);
	if (systemctl_mark(unit, SYSTEMCTL_LEAVING, false, &e) < 0 ||
	    systemctl_mark(unit, SYSTEMCTL_AWAY, false, &e) < 0 ||
	    systemctl_run("daemon-reload", NULL, &e) < 0)
		log_err("%s: %s", unit, e.msg);
}

static void *settle_main(void *arg)
{
	struct settling *s = arg;
	char text[64];

	snprintf(text, sizeof(text), "MAINPID=%d\nREADY=1", s->root);
	int r = systemctl_notify(s->stand_in, text);

	if (r < 0)
		log_err("systemd is not told that %d is %s: %s", s->root, s->unit, strerror(-r));
	end_stand_in(s->unit, s->stand_in, s->root);
	free(s);
	return NULL;
}

static void runs(struct wrk *w)
{
	struct settling *s = calloc(1, sizeof(*s));

	if (!s || w->berth->settling) {
		free(s);
		return;
	}
	snprintf(s->unit, sizeof(s->unit), "%s", w->keep->unit);
	s->stand_in = w->keep->berth_pid;
	s->root = w->root_pid;
	w->keep->unit_changed = false;
	int r = pthread_create(&w->berth->thread, NULL, settle_main, s);

	w->berth->settling = r == 0;
	if (r) {
		log_err("%s: no thread: %s", s->unit, strerror(r));
		free(s);
	}
}

static void undo(struct wrk *w)
{
	struct err e = ERR_INIT;
	pid_t pid = w->keep->berth_pid;

	if (!w->keep->unit_changed)
		return;
	w->keep->unit_changed = false;
	if (pid > 0 && procs_start(pid) == w->keep->berth_start)
		kill(pid, SIGKILL);
	systemctl_unchange(w->keep->unit, SYSTEMCTL_ARRIVING);
	if (systemctl_run("stop", w->keep->unit, &e) < 0 ||
	    systemctl_run("daemon-reload", NULL, &e) < 0)
		log_err("%s: %s", w->keep->unit, e.msg);
	err_clear(&e);
	systemctl_run("reset-failed", w->keep->unit, &e); /* an error: it has not failed */
}

const struct berth_kind unit_kind = {
	.name = "unit",
	.offer = offer,
	.start = start,
	.spawn = spawn,
	.runs = runs,
	.undo = undo,
	.over = over,
};
