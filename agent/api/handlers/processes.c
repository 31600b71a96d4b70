// SPDX-License-Identifier: GPL-2.0-or-later
/* processes.c - the processes of this host, what keeps them here, a check, the peers. Nothing is moved. */
#include "agent/api/handlers/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/arguments.h"
#include "agent/api/reply.h"
#include "agent/api/handlers/survey.h"
#include "agent/api/task.h"
#include "common/auto.h"
#include "common/printable.h"
#include "hauler/options/options.h"

#define SURVEY_MAX 200

/* ---- processes ---- */

/* Return: 0; -ESRCH */
static int read_process(pid_t pid, struct process *p)
{
	char path[64], line[1024];
	struct stat st;
	unsigned int flags = 0;
	int ppid = 0;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st) < 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	AUTO(file) FILE *f = fopen(path, "re");
	size_t n = f ? fread(line, 1, sizeof(line) - 1, f) : 0;

	line[n] = 0; /* the name may hold any byte: newlines and parentheses, too */
	char *open = strchr(line, '(');
	char *shut = open ? strrchr(open, ')') : NULL;

	if (!shut)
		return -ESRCH;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(shut - open - 1), open + 1);
	printable(p->comm);
	if (sscanf(shut + 1,
	           " %*c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lld %*d "
	           "%lld %*u %lld",
	           &ppid, &flags, &p->threads, &p->start, &p->rss_pages) != 5)
		return -ESRCH;
	p->pid = pid;
	p->ppid = ppid;
	p->uid = st.st_uid;
	p->kernel = flags & 0x00200000; /* PF_KTHREAD */
	return 0;
}

bool process_of_body(struct req *q, json_t *body, struct process *p, int *r)
{
	json_int_t pid = json_integer_value(json_object_get(body, "pid"));

	if (pid <= 1 || pid > 4194304) {
		*r = reply_problem(q, 422, "bad-value", "pid must be a process ID above 1");
		return false;
	}
	/* to a user, processes of others do not exist */
	if (read_process((pid_t)pid, p) < 0 || (q->who.role == ROLE_USER && p->uid != q->who.uid)) {
		*r = reply_problem(q, 404, "no-process", "process %lld does not exist",
		                   (long long)pid);
		return false;
	}
	return true;
}

static json_t *proc_json(const struct process *p)
{
	json_t *comm = json_string(p->comm);

	return json_pack("{s:i,s:i,s:i,s:o,s:I,s:I}", "pid", p->pid, "ppid", p->ppid, "uid",
	                 (int)p->uid, "comm", comm ? comm : json_string("?"), "threads",
	                 (json_int_t)p->threads, "rss_bytes", (json_int_t)p->rss_pages * 4096);
}

/*
 * hauld, haul, or CRIU that works for them? The name is the process's to choose, the program is not:
 * a user's process cannot leave the list.
 */
static bool is_own(const struct process *p)
{
	static const char *const own[] = { "haul", "hauld", "criu" };
	char path[32], exe[PATH_MAX] = "";

	snprintf(path, sizeof(path), "/proc/%d/exe", p->pid);
	if (p->uid || readlink(path, exe, sizeof(exe) - 1) < 0)
		return false;
	char *gone = strstr(exe, " (deleted)"), *slash = strrchr(exe, '/');

	if (gone) /* an update has replaced it */
		*gone = 0;
	for (size_t i = 0; slash && i < ARRAY_SIZE(own); i++)
		if (!strcmp(slash + 1, own[i]))
			return true;
	return false;
}

static bool shown(const struct req *q, const struct process *p)
{
	const char *pid = reply_query(q, "pid"), *comm = reply_query(q, "comm");

	if (p->pid <= 1 || p->kernel || p->rss_pages == 0 || is_own(p))
		return false;
	return (q->who.role != ROLE_USER || p->uid == q->who.uid) &&
	       (!pid || atoi(pid) == p->pid) && (!comm || !strcmp(comm, p->comm));
}

static json_t *all_shown(const struct req *q)
{
	AUTO(dir) DIR *d = opendir("/proc");
	const struct dirent *de;
	json_t *v = json_array();
	struct process p;

	while (d && (de = readdir(d)))
		if (isdigit((unsigned char)de->d_name[0]) &&
		    read_process((pid_t)atoi(de->d_name), &p) == 0 && shown(q, &p))
			json_array_append_new(v, proc_json(&p));
	return v;
}

static json_t *with_pid(json_t *v, json_int_t pid)
{
	json_t *o;
	size_t i;

	json_array_foreach(v, i, o)
	{
		if (json_integer_value(json_object_get(o, "pid")) == pid)
			return o;
	}
	return NULL;
}

/* Add what survey.c printed to the processes that still exist. */
static int with_findings(struct req *q)
{
	json_t *v = all_shown(q), *lines = task_lines(q->task), *o;
	size_t i;

	json_array_foreach(lines, i, o)
	{
		json_t *p = with_pid(v, json_integer_value(json_object_get(o, "pid")));

		json_object_set(p, "can_move", json_object_get(o, "can_move"));
		json_object_set(p, "findings", json_object_get(o, "findings"));
	}
	json_decref(lines);
	return reply_json(q, 200, json_pack("{s:o}", "processes", v));
}

int processes_get(struct req *q)
{
	const char *findings = reply_query(q, "findings"), *argv[SURVEY_MAX + 3];
	json_t *v = all_shown(q), *o;
	size_t i, n = json_array_size(v);
	static char pid[SURVEY_MAX][16];

	if (!findings || strcmp(findings, "1") || n == 0)
		return reply_json(q, 200, json_pack("{s:o}", "processes", v));
	if (n > SURVEY_MAX) {
		json_decref(v);
		return reply_problem(q, 422, "too-many",
		                     "findings of %zu processes: at most %d at once; name them by "
		                     "pid= or comm=",
		                     n, SURVEY_MAX);
	}
	argv[0] = SURVEY_NAME;
	argv[1] = q->api->haul;
	json_array_foreach(v, i, o)
	{
		snprintf(pid[i], sizeof(pid[i]), "%lld",
		         (long long)json_integer_value(json_object_get(o, "pid")));
		argv[2 + i] = pid[i];
	}
	argv[2 + n] = NULL;
	json_decref(v);
	return task_start(q, "/proc/self/exe", argv, with_findings);
}

/* ---- check ---- */

/* What haul check printed, and how it ended */
static int checked(struct req *q)
{
	json_t *lines = task_lines(q->task), *o, *findings = json_array(), *files = json_array();
	size_t i;

	json_array_foreach(lines, i, o)
	{
		const char *event = json_string_value(json_object_get(o, "event"));

		if (event && !strcmp(event, "file"))
			json_array_append(files, o);
		else if (event && strcmp(event, "files"))
			json_array_append(findings, o);
	}
	json_decref(lines);
	return reply_json(q, 200,
	                  json_pack("{s:b,s:i,s:o,s:o}", "can_move", q->task->status == 0, "exit",
	                            q->task->status < 0 ? 1 : q->task->status, "findings", findings,
	                            "files", files));
}

static int start_check(struct req *q, json_t *body, pid_t pid)
{
	struct err e = ERR_INIT;
	json_t *args = arguments_of(q, body, "check", pid, &e);
	size_t n = json_array_size(args);
	AUTO(mem) const char **argv = calloc(n + 1, sizeof(*argv));

	if (!args || !argv) {
		json_decref(args);
		return reply_problem(q, e.code == EPERM ? 403 : 422,
		                     e.code == EPERM ? "forbidden" : "bad-value", "%s", e.msg);
	}
	for (size_t i = 0; i < n; i++)
		argv[i] = json_string_value(json_array_get(args, i));
	int r = task_start(q, q->api->haul, argv, checked);

	json_decref(args);
	return r;
}

int processes_check(struct req *q)
{
	int r = MHD_NO;
	json_t *body = reply_body(q, &r);
	struct process p;

	if (!body)
		return r;
	if (process_of_body(q, body, &p, &r))
		r = start_check(q, body, p.pid);
	json_decref(body);
	return r;
}

/* ---- peers: the hosts whose keys are trusted ---- */

static int listed_peers(struct req *q)
{
	return reply_json(q, 200, json_pack("{s:o}", "peers", task_lines(q->task)));
}

int processes_peers(struct req *q)
{
	const struct option_row *limit = &options_table[OPTION_CONNECT_LIMIT_MS];
	const char *pid = reply_query(q, "pid"), *ms = reply_query(q, limit->key);
	const char *argv[7] = { q->api->haul, "--json", "--agent=none" };
	char option[64];
	size_t n_args = 3;
	struct process p;
	long n;

	if (pid) {
		char *end;

		n = strtol(pid, &end, 10);
		if (!*pid || *end || n <= 1 || read_process((pid_t)n, &p) < 0 ||
		    (q->who.role == ROLE_USER && p.uid != q->who.uid))
			return reply_problem(q, 404, "no-process", "this process does not exist");
	}
	if (ms && options_number(limit, ms, &n) < 0)
		return reply_problem(q, 400, "bad-request",
		                     "connect_limit_ms is a number from %ld to %ld", limit->min,
		                     limit->max);
	if (ms) {
		snprintf(option, sizeof(option), "--%s=%ld", limit->name, n);
		argv[n_args++] = option;
	}
	argv[n_args++] = "peers";
	argv[n_args++] = pid;
	return task_start(q, q->api->haul, argv, listed_peers);
}
