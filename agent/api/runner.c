// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * runner.c - one migration: runs haul and stores its events and its outcome. The lock on the
 * folder says that the runner lives; a second one for the same folder ends at once.
 */
#include "agent/api/runner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/api/events.h"
#include "agent/api/jobs.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"

static volatile sig_atomic_t cancelled;
static volatile pid_t haul_pid;

static void on_cancel(int sig)
{
	(void)sig;
	cancelled = 1;
	if (haul_pid > 0)
		kill(haul_pid, SIGINT);
}

static int take_lock(int dir)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	/* the lock belongs to this process alone: children do not inherit it */
	return fd < 0 || fcntl(fd, F_SETLK, &l) < 0 ? -errno : 0;
}

/* Another process may have this PID by now. */
static bool same_process(json_t *spec)
{
	char path[64], line[1024];
	json_int_t want = json_integer_value(json_object_get(spec, "pid_start"));

	snprintf(path, sizeof(path), "/proc/%lld/stat",
	         (long long)json_integer_value(json_object_get(spec, "pid")));
	AUTO(file) FILE *f = fopen(path, "re");
	size_t n = f ? fread(line, 1, sizeof(line) - 1, f) : 0;

	line[n] = 0; /* the name may hold newlines */
	char *p = strrchr(line, ')');

	for (int i = 0; p && i < 20; i++) /* to field 22 */
		p = strchr(p + 1, ' ');
	return p && atoll(p) == want;
}

/* Return: argv, the caller's, of texts that @spec holds; NULL: no memory */
static char **spec_args(json_t *spec)
{
	json_t *args = json_object_get(spec, "args"), *v;
	char **argv = calloc(json_array_size(args) + 1, sizeof(*argv));
	size_t i;

	json_array_foreach(args, i, v)
	{
		if (argv)
			argv[i] = (char *)(json_string_value(v) ? json_string_value(v) : "");
	}
	return argv;
}

static pid_t start_haul(json_t *spec, int dir, int out)
{
	AUTO(mem) char **argv = spec_args(spec);
	pid_t parent = getpid();

	if (!argv || !argv[0])
		return -1;
	int err = openat(dir, "stderr", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* without us the outcome would be lost: undo */
		if (getppid() != parent)
			_exit(130);
		dup2(null, 0);
		dup2(out, 1);
		dup2(err, 2);
		signal(SIGTERM, SIG_DFL);
		execv(argv[0], argv);
		_exit(127);
	}
	close(err);
	close(null);
	return pid;
}

static void pump(int from, int dir, int all, const char *id)
{
	AUTO(file) FILE *f = fdopen(from, "r");
	AUTO(mem) char *line = NULL;
	size_t room = 0;

	while (f) {
		errno = 0;
		if (getline(&line, &room, f) < 0) {
			if (errno != EINTR)
				return;
			clearerr(f);
			continue;
		}
		events_put(dir, all, id, line);
	}
}

static const char *status_of(int status)
{
	static const struct {
		int exit;
		enum job_status is;
	} map[] = {
		{ 0, JOB_DONE }, { 3, JOB_BLOCKED }, { 4, JOB_UNRESOLVED }, { 130, JOB_CANCELLED }
	};

	if (!WIFEXITED(status))
		return job_status_name(JOB_INTERRUPTED);
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].exit == WEXITSTATUS(status))
			return job_status_name(map[i].is);
	return job_status_name(JOB_FAILED);
}

/* haul prints usage errors and the like on stderr only. */
static void last_words(int dir, int all, const char *id)
{
	char text[700] = "";
	AUTO(fd) int fd = openat(dir, "stderr", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	json_t *o;

	if (n <= 0)
		return;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	printable(text);
	o = json_pack("{s:s,s:s}", "event", "stderr", "text", text);
	AUTO(mem) char *s = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (s)
		events_put(dir, all, id, s);
	json_decref(o);
}

static void end(int dir, int all, const char *id, const char *status, int code)
{
	json_t *o = json_pack("{s:s,s:s,s:i,s:I}", "event", "ended", "status", status, "exit", code,
	                      "at_ms", (json_int_t)now_wall_ms());
	AUTO(mem) char *s = json_dumps(o, JSON_COMPACT);
	int r = s ? events_outcome(dir, s) : -ENOMEM;

	if (r < 0)
		log_err("job=%s: cannot store its outcome %s: %s", id, status, strerror(-r));
	json_object_del(o, "at_ms"); /* the event has its own */
	AUTO(mem) char *event = json_dumps(o, JSON_COMPACT);

	if (event)
		events_put(dir, all, id, event);
	json_decref(o);
}

static int run(int dir, int all, const char *id, json_t *spec)
{
	int pipes[2], status = 0;

	if (!same_process(spec)) {
		events_put(dir, all, id,
		           "{\"event\":\"error\",\"source\":\"target\",\"code\":3,\"text\":\"the "
		           "process "
		           "has ended\",\"remedy\":\"\"}");
		end(dir, all, id, job_status_name(JOB_BLOCKED), 3);
		return 0;
	}
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return 1;
	events_put(dir, all, id, "{\"event\":\"started\"}");
	haul_pid = start_haul(spec, dir, pipes[1]);
	close(pipes[1]);
	if (haul_pid < 0) {
		haul_pid = 0;
		close(pipes[0]);
		end(dir, all, id, job_status_name(JOB_FAILED), -1);
		return 1;
	}
	if (cancelled)
		kill(haul_pid, SIGINT);
	pump(pipes[0], dir, all, id);
	while (waitpid(haul_pid, &status, 0) < 0 && errno == EINTR)
		;
	haul_pid = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		last_words(dir, all, id);
	end(dir, all, id, status_of(status), WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}

int runner_main(int argc, char **argv)
{
	const char *path = argc == 2 ? argv[1] : "";
	struct sigaction sa = { .sa_handler = on_cancel };
	AUTO(fd) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(fd) int all = -1;
	const char *slash = strrchr(path, '/');
	json_error_t why;

	sigaction(SIGTERM, &sa, NULL);
	log_setup(RUNNER_NAME, LOG_WARN_);
	if (dir < 0 || !slash || take_lock(dir) < 0 || faccessat(dir, "exit.json", F_OK, 0) == 0)
		return 1;
	all = openat(dir, "../events.jsonl", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	AUTO(fd) int fd = openat(dir, "job.json", O_RDONLY | O_CLOEXEC);
	json_t *spec = fd < 0 ? NULL : json_loadfd(fd, 0, &why);

	if (!spec || all < 0) {
		log_err("%s: job.json or the events cannot be opened", path);
		return 1;
	}
	int r = run(dir, all, slash + 1, spec);

	json_decref(spec);
	return r;
}
