// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * jobs.c - the registry of migrations: each request is a folder, on disk before it is
 * confirmed; its outcome is read from its events. Files: docs/API.md, "On disk".
 */
#include "agent/api/jobs.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/events.h"
#include "agent/api/metrics.h"
#include "agent/api/runner.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/host/journal.h"
#include "common/log.h"
#include "engine/proc/proc.h"

#define FINDINGS_MAX 64

static void set_status(struct job *j, enum job_status s)
{
	j->status = s;
	json_object_set_new(j->view, "status", json_string(job_status_name(s)));
}

static int job_dir(const struct api *a, const struct job *j)
{
	return openat(a->state_fd, j->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int job_open(const struct api *a, const struct job *j, const char *name, int flags)
{
	AUTO(fd) int dir = job_dir(a, j);

	return dir < 0 ? -1 : openat(dir, name, flags | O_CLOEXEC, 0600);
}

/* One of hauld's own events: "queued", "cancelling", "ended"; @event: taken */
static void job_event(struct api *a, struct job *j, json_t *event)
{
	AUTO(fd) int dir = job_dir(a, j);
	AUTO(mem) char *s = json_dumps(event, JSON_COMPACT);

	if (dir >= 0 && s)
		events_put(dir, a->all_fd, j->id, s);
	json_decref(event);
}

/* ---- events change the view ---- */

/* The key of the view that shows the last event of a kind. */
static const struct {
	const char *event, *as;
} shown[] = {
	{ "round", "round" },         { "progress", "progress" }, { "freeze", "freeze" },
	{ "done", "result" },         { "failed", "result" },     { "error", "error" },
	{ "link-lost", "link_lost" },
};

static void note_ended(struct job *j, json_t *event)
{
	const char *s = json_string_value(json_object_get(event, "status"));

	for (enum job_status i = JOB_DONE; s && i < JOB_NSTATUS; i++)
		if (!strcmp(s, job_status_name(i)))
			set_status(j, i);
	if (json_object_get(event, "exit")) /* not when it was resolved */
		json_object_set(j->view, "exit", json_object_get(event, "exit"));
	json_object_set(j->view, "ended_ms", json_object_get(event, "at_ms"));
}

static void keep_migration(struct job *j, json_t *event)
{
	const char *id = json_string_value(json_object_get(event, "migration"));

	if (id && strspn(id, "0") != strlen(id))
		json_object_set(j->view, "migration", json_object_get(event, "migration"));
}

static void apply(struct job *j, json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));

	if (!name)
		return;
	keep_migration(j, event);
	metrics_event(j, event);
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++)
		if (!strcmp(name, shown[i].event))
			json_object_set(j->view, shown[i].as, event);
	if (json_object_get(event, "state"))
		json_object_set(j->view, "state", json_object_get(event, "state"));
	if (!strcmp(name, "started"))
		json_object_set(j->view, "started_ms", json_object_get(event, "at_ms"));
	else if (!strcmp(name, "ended") || !strcmp(name, "resolved"))
		note_ended(j, event);
	else if (!strcmp(name, "finding") &&
	         json_array_size(json_object_get(j->view, "findings")) < FINDINGS_MAX)
		json_array_append(json_object_get(j->view, "findings"), event);
	else if (!strcmp(name, "stderr") && !json_object_get(j->view, "error"))
		json_object_set(j->view, "error", event);
}

static void catch_up(struct api *a, struct job *j)
{
	char line[EVENT_BYTES];
	AUTO(fd) int fd = job_open(a, j, "events.jsonl", O_RDONLY);
	ssize_t n;

	while (fd >= 0 && (n = events_line(fd, j->pos, line, sizeof(line))) > 0) {
		json_t *event = json_loads(line, 0, NULL);

		j->pos += (uint64_t)n;
		if (event)
			apply(j, event);
		json_decref(event);
	}
}

void jobs_follow(struct api *a)
{
	for (size_t i = 0; i < a->n_jobs; i++)
		if (!job_over(a->job[i]))
			catch_up(a, a->job[i]);
}

/* ---- folders ---- */

static void job_free(struct job *j)
{
	if (!j)
		return;
	json_decref(j->spec);
	json_decref(j->view);
	free(j);
}
DEFINE_AUTO(job, job_free)

/* Keys that job.json and the view share. */
static const char *const public_keys[] = { "id",      "created_ms",  "pid",
	                                   "comm",    "destination", "policy",
	                                   "options", "priority",    "owner" };

/* Users of the socket are named "uid N"; the names of tokens have no blanks. */
static bool by_user(const char *owner, uid_t *uid)
{
	return owner && sscanf(owner, "uid %u", uid) == 1 && *uid;
}

/* @spec: taken */
static struct job *job_make(json_t *spec)
{
	struct job *j = calloc(1, sizeof(*j));
	const char *id = json_string_value(json_object_get(spec, "id"));

	if (!j || !id || strlen(id) + 1 != sizeof(j->id)) {
		json_decref(spec);
		free(j);
		return NULL;
	}
	snprintf(j->id, sizeof(j->id), "%s", id);
	j->spec = spec;
	j->view = json_pack("{s:[],s:s}", "findings", "state", "new");
	j->seq = (uint64_t)json_integer_value(json_object_get(spec, "seq"));
	j->pid = (pid_t)json_integer_value(json_object_get(spec, "pid"));
	j->uid = (uid_t)json_integer_value(json_object_get(spec, "uid"));
	j->by_user = by_user(json_string_value(json_object_get(spec, "owner")), &j->by_uid);
	j->priority = (int)json_integer_value(json_object_get(spec, "priority"));
	for (size_t i = 0; i < ARRAY_SIZE(public_keys); i++)
		json_object_set(j->view, public_keys[i], json_object_get(spec, public_keys[i]));
	set_status(j, JOB_QUEUED);
	return j;
}

static int add(struct api *a, struct job *j)
{
	struct job **v = realloc(a->job, (a->n_jobs + 1) * sizeof(struct job *));

	if (!v)
		return -ENOMEM;
	a->job = v;
	a->job[a->n_jobs++] = j;
	if (j->seq >= a->next_seq)
		a->next_seq = j->seq + 1;
	return 0;
}

/* Return: the runner's pid; 0: none holds the lock; -1: there never was one */
static pid_t runner_of(const struct api *a, const struct job *j)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	AUTO(fd) int fd = job_open(a, j, "lock", O_RDWR);

	if (fd < 0)
		return -1;
	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK ? l.l_pid : 0;
}

static void load_one(struct api *a, const char *id)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/job.json", id);
	AUTO(fd) int fd = openat(a->state_fd, path, O_RDONLY | O_CLOEXEC);
	json_t *spec = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
	AUTO(job) struct job *j = spec ? job_make(spec) : NULL;

	if (!j || strcmp(j->id, id)) {
		log_warn("%s/%s: cannot be read, left alone", a->conf->state, id);
		return;
	}
	catch_up(a, j);
	if (!job_over(j) && runner_of(a, j) >= 0)
		set_status(j, JOB_RUNNING); /* if it has died, jobs_schedule() notices */
	if (add(a, j) == 0)
		(void)steal(j);
}

static int by_seq(const void *x, const void *y)
{
	const struct job *a = *(struct job *const *)x, *b = *(struct job *const *)y;

	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

int jobs_load(struct api *a, struct err *e)
{
	AUTO(dir) DIR *d = opendir(a->conf->state);
	const struct dirent *de;

	if (!d)
		return err_sys(e, "%s", a->conf->state);
	while ((de = readdir(d)))
		if (strlen(de->d_name) == JOB_ID_BYTES - 1 && de->d_name[0] != '.')
			load_one(a, de->d_name);
	if (a->n_jobs)
		qsort(a->job, a->n_jobs, sizeof(*a->job), by_seq);
	return 0;
}

/* The whole request is on disk before it is confirmed. */
static int store(struct api *a, const char *id, json_t *spec, struct err *e)
{
	char fresh[32];

	snprintf(fresh, sizeof(fresh), ".new-%s", id);
	if (mkdirat(a->state_fd, fresh, 0700) < 0)
		return err_sys(e, "%s/%s", a->conf->state, fresh);
	AUTO(fd) int dir = openat(a->state_fd, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(fd) int fd = openat(dir, "job.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	int r = dir < 0 ? -errno : events_reserve(dir);

	if (r < 0)
		errno = -r;
	if (r < 0 || fd < 0 || json_dumpfd(spec, fd, JSON_INDENT(1)) < 0 || fsync(fd) < 0 ||
	    renameat(a->state_fd, fresh, a->state_fd, id) < 0 || fsync(a->state_fd) < 0) {
		err_sys(e, "%s/%s", a->conf->state, id);
		unlinkat(dir, "job.json", 0);
		unlinkat(dir, "exit.new", 0);
		unlinkat(a->state_fd, fresh, AT_REMOVEDIR);
		return -e->code;
	}
	return 0;
}

struct job *jobs_new(struct api *a, json_t *spec, struct err *e)
{
	char id[JOB_ID_BYTES];
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r)) {
		err_sys(e, "getrandom");
		json_decref(spec);
		return NULL;
	}
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)r);
	json_object_set_new(spec, "id", json_string(id));
	json_object_set_new(spec, "seq", json_integer((json_int_t)a->next_seq));
	json_object_set_new(spec, "created_ms", json_integer((json_int_t)now_wall_ms()));
	if (store(a, id, spec, e) < 0) {
		json_decref(spec);
		return NULL;
	}
	AUTO(job) struct job *j = job_make(spec);

	if (!j || add(a, j) < 0) {
		err_set(e, ERR_SYS, ENOMEM, "no memory for another migration");
		return NULL;
	}
	job_event(a, j, json_pack("{s:s,s:O*}", "event", "queued", "request", j->view));
	log_info("job=%s pid=%d destination=%s by=%s", id, j->pid,
	         json_string_value(json_object_get(j->spec, "destination")),
	         json_string_value(json_object_get(j->spec, "owner")));
	return steal(j);
}

struct job *jobs_find(struct api *a, const char *id)
{
	for (size_t i = a->n_jobs; i-- > 0;)
		if (!strcmp(a->job[i]->id, id))
			return a->job[i];
	return NULL;
}

/* ---- queue and runners ---- */

/* Write the end of a migration that no runner will end. */
static void end_here(struct api *a, struct job *j, enum job_status s)
{
	json_t *o = json_pack("{s:s,s:s,s:i,s:I}", "event", "ended", "status", job_status_name(s),
	                      "exit", s == JOB_CANCELLED ? 130 : -1, "at_ms",
	                      (json_int_t)now_wall_ms());
	AUTO(fd) int dir = job_dir(a, j);
	AUTO(mem) char *text = json_dumps(o, JSON_COMPACT);
	int r = text ? events_outcome(dir, text) : -ENOMEM;

	if (r < 0)
		log_err("job=%s: cannot store its outcome: %s", j->id, strerror(-r));
	json_object_del(o, "at_ms");
	job_event(a, j, o);
	catch_up(a, j);
}

/*
 * Its runner has stored how it ended, and had no room for the event (the folder was full): the
 * event is made again. Return: false: no outcome is stored
 */
static bool end_as_stored(struct api *a, struct job *j)
{
	AUTO(fd) int fd = job_open(a, j, "exit.json", O_RDONLY);
	json_t *o = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);

	if (!o)
		return false;
	apply(j, o);
	json_object_del(o, "at_ms");
	job_event(a, j, o);
	return job_over(j);
}

void jobs_resolved(struct api *a, struct job *j, bool kept)
{
	job_event(a, j,
	          json_pack("{s:s,s:s}", "event", "resolved", "status",
	                    job_status_name(kept ? JOB_FAILED : JOB_DONE)));
	catch_up(a, j);
}

static bool booted_since(const struct job *j)
{
	struct timespec up;
	json_int_t made_ms = json_integer_value(json_object_get(j->spec, "created_ms"));

	clock_gettime(CLOCK_BOOTTIME, &up);
	return made_ms < (json_int_t)now_wall_ms() - (json_int_t)up.tv_sec * 1000;
}

/*
 * haul recover or haul resolve has ended it, and so has removed the journal: look what became of
 * the copy here.
 */
static void look_again(struct api *a, struct job *j)
{
	const char *id = json_string_value(json_object_get(j->view, "migration"));
	json_int_t start = json_integer_value(json_object_get(j->spec, "pid_start"));
	enum job_status s = JOB_DONE;
	char path[64];

	snprintf(path, sizeof(path), JOURNAL_DIR "/source-%.16s", id ? id : "");
	if (!id || access(path, F_OK) == 0 || errno != ENOENT)
		return;
	if (booted_since(j))
		s = JOB_INTERRUPTED;
	else if (start && procs_lives(j->pid) && procs_start(j->pid) == (uint64_t)start)
		s = JOB_FAILED;
	job_event(a, j, json_pack("{s:s,s:s}", "event", "resolved", "status", job_status_name(s)));
	catch_up(a, j);
}

static void signal_runner(struct api *a, struct job *j)
{
	pid_t pid = runner_of(a, j);
	AUTO(fd) int fd = pid > 0 ? pidfd_open(pid, 0) : -1;

	/* ask again: now the process behind fd is known to hold the lock */
	if (fd >= 0 && runner_of(a, j) == pid && pidfd_send_signal(fd, SIGTERM, NULL, 0) < 0)
		log_err("job=%s: signal to its runner: %s", j->id, strerror(errno));
}

int jobs_cancel(struct api *a, struct job *j, struct err *e)
{
	if (job_over(j))
		return err_set(e, ERR_USER, EALREADY, "it is over: %s", job_status_name(j->status));
	j->cancelling = true;
	json_object_set_new(j->view, "cancelling", json_true());
	if (j->status == JOB_QUEUED) {
		end_here(a, j, JOB_CANCELLED);
		return 0;
	}
	job_event(a, j, json_pack("{s:s}", "event", "cancelling"));
	signal_runner(a, j); /* it may not have started yet: jobs_schedule() repeats it */
	return 0;
}

static void start(struct api *a, struct job *j)
{
	extern char **environ;
	posix_spawnattr_t attr;
	sigset_t none;
	char dir[600], name[] = RUNNER_NAME;
	char *argv[] = { name, dir, NULL };
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/%s", a->conf->state, j->id);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	int r = posix_spawn(&pid, "/proc/self/exe", NULL, &attr, argv, environ);

	posix_spawnattr_destroy(&attr);
	if (r) {
		log_err("job=%s: cannot start its runner: %s; it stays in the queue", j->id,
		        strerror(r));
		return;
	}
	set_status(j, JOB_RUNNING);
	j->runner = pid;
}

static unsigned int running_of(const struct api *a, uid_t uid)
{
	unsigned int n = 0;

	for (size_t i = 0; i < a->n_jobs; i++)
		n += a->job[i]->by_user && a->job[i]->by_uid == uid &&
		     a->job[i]->status == JOB_RUNNING;
	return n;
}

/*
 * Operators go by priority. Of users the one with the fewest running migrations goes first; the
 * priorities of a user order that user's own migrations. Otherwise the older one goes.
 */
static bool goes_before(const struct api *a, const struct job *x, const struct job *y)
{
	if (x->by_user && x->by_uid != y->by_uid)
		return running_of(a, x->by_uid) < running_of(a, y->by_uid);
	return x->priority > y->priority;
}

static struct job *next_in_queue(struct api *a, bool user)
{
	struct job *best = NULL;

	for (size_t i = 0; i < a->n_jobs; i++)
		if (a->job[i]->status == JOB_QUEUED && a->job[i]->by_user == user &&
		    (!best || goes_before(a, a->job[i], best)))
			best = a->job[i];
	return best;
}

/* Notice a runner that died. Return: does it run? */
static bool still_running(struct api *a, struct job *j)
{
	pid_t pid = runner_of(a, j);

	/* we started it and it does not hold its lock yet; a zombie has no lock either */
	if (pid <= 0 && !(j->runner && kill(j->runner, 0) == 0)) {
		catch_up(a, j);
		if (!job_over(j) && !end_as_stored(a, j))
			end_here(a, j, JOB_INTERRUPTED);
		return false;
	}
	if (pid > 0)
		j->runner = 0;
	if (pid > 0 && j->cancelling)
		signal_runner(a, j);
	return true;
}

void jobs_schedule(struct api *a)
{
	unsigned int max = a->conf->running_max, users = 0, others = 0;
	struct job *j;

	for (size_t i = 0; i < a->n_jobs; i++)
		if (a->job[i]->status == JOB_UNRESOLVED)
			look_again(a, a->job[i]);
	for (size_t i = 0; i < a->n_jobs; i++)
		if (a->job[i]->status == JOB_RUNNING && still_running(a, a->job[i]))
			*(a->job[i]->by_user ? &users : &others) += 1;
	/* users leave a slot to operators; where there is only one, an operator does not wait for it */
	while ((users + others < max || others == 0) && (j = next_in_queue(a, false))) {
		start(a, j);
		if (j->status != JOB_RUNNING)
			return;
		others++;
	}
	while (users + others < max && users < (max > 1 ? max - 1 : 1) &&
	       (j = next_in_queue(a, true))) {
		start(a, j);
		if (j->status != JOB_RUNNING)
			return;
		users++;
	}
}

/* ---- the end of their list ---- */

static void remove_files(const struct api *a, const char *id)
{
	static const char *const names[] = { "events.jsonl", "stderr", "exit.json",
		                             "exit.new",     "lock",   "job.json" };
	AUTO(fd) int dir = openat(a->state_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; dir >= 0 && i < ARRAY_SIZE(names); i++)
		unlinkat(dir, names[i], 0);
	if (unlinkat(a->state_fd, id, AT_REMOVEDIR) < 0)
		log_warn("job=%s: cannot remove its folder: %s", id, strerror(errno));
}

/* Forget up to @n of the oldest that are over. Return: how many are still to be forgotten */
static size_t prune(struct api *a, size_t n, bool users_only)
{
	size_t to = 0;

	for (size_t i = 0; i < a->n_jobs; i++) {
		struct job *j = a->job[i];

		if (n && job_over(j) && j->status != JOB_UNRESOLVED && !j->readers &&
		    (j->by_user || !users_only)) {
			remove_files(a, j->id);
			job_free(j);
			n--;
		} else {
			a->job[to++] = j;
		}
	}
	a->n_jobs = to;
	return n;
}

void jobs_prune(struct api *a)
{
	size_t n = a->n_jobs > a->conf->kept_max ? a->n_jobs - a->conf->kept_max : 0;

	/* a user's many migrations do not push those of operators out of the list */
	if (n && (n = prune(a, n, true)))
		prune(a, n, false);
}
