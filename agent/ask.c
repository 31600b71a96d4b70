// SPDX-License-Identifier: GPL-2.0-or-later
/* ask.c - what can be asked for: processes, checks, peers, new migrations. */
#include "agent/api.h"

#include <ctype.h>
#include <dirent.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "policies/policies.h"

/* ---- processes ---- */

struct proc {
	pid_t pid, ppid;
	uid_t uid;
	char comm[32];
	long long threads, start, rss_pages;
	bool kernel;
};

/* Return: 0; -ESRCH */
static int proc_read(pid_t pid, struct proc *p)
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
	char *open = f && fgets(line, sizeof(line), f) ? strchr(line, '(') : NULL;
	char *shut = open ? strrchr(open, ')') : NULL;

	if (!shut)
		return -ESRCH;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(shut - open - 1), open + 1);
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

static json_t *proc_json(const struct proc *p)
{
	json_t *comm = json_string(p->comm);

	return json_pack("{s:i,s:i,s:i,s:o,s:I,s:I}", "pid", p->pid, "ppid", p->ppid, "uid",
	                 (int)p->uid, "comm", comm ? comm : json_string("?"), "threads",
	                 (json_int_t)p->threads, "rss_bytes", (json_int_t)p->rss_pages * 4096);
}

int get_processes(struct req *q)
{
	AUTO(dir) DIR *d = opendir("/proc");
	const struct dirent *de;
	json_t *v = json_array();
	struct proc p;

	while (d && (de = readdir(d))) {
		pid_t pid = (pid_t)atoi(de->d_name);

		/* neither init, nor hauld itself, nor what works for it */
		if (pid <= 1 || proc_read(pid, &p) < 0 || p.kernel || p.rss_pages == 0 ||
		    !strncmp(p.comm, "haul", 4) || !strcmp(p.comm, "criu"))
			continue;
		if (q->who.role != ROLE_USER || p.uid == q->who.uid)
			json_array_append_new(v, proc_json(&p));
	}
	return http_json(q, 200, json_pack("{s:o}", "processes", v));
}

/* ---- words of a request ---- */

static bool host_ok(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n == 0 || n > 253 || s[0] == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(".-_:%", *s))
			return false;
	return true;
}

static bool name_ok(const char *s)
{
	if (!*s || strlen(s) > 63)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
			return false;
	return true;
}

/* A list of words in the configuration */
static bool listed(const char *list, const char *word)
{
	char copy[256], *rest = copy, *w;

	snprintf(copy, sizeof(copy), "%s", list);
	while ((w = strsep(&rest, " ,")))
		if (*w && !strcmp(w, word))
			return true;
	return false;
}

/* Whose process is it? Return: 0; else an answer was made */
static bool may_touch(struct req *q, json_t *body, struct proc *p, int *r)
{
	json_int_t pid = json_integer_value(json_object_get(body, "pid"));

	if (pid <= 1 || pid > 4194304) {
		*r = http_problem(q, 422, "bad-value", "pid is a process id above 1");
		return false;
	}
	/* of another user: it does not exist for them */
	if (proc_read((pid_t)pid, p) < 0 || (q->who.role == ROLE_USER && p->uid != q->who.uid)) {
		*r = http_problem(q, 404, "no-process", "there is no process %lld", (long long)pid);
		return false;
	}
	return true;
}

/* ---- check ---- */

int post_check(struct req *q)
{
	int r = MHD_NO;
	json_t *body = http_body(q, &r);
	const char *host = json_string_value(json_object_get(body, "destination"));
	struct proc p;
	char pid[16], dest[256] = "";

	if (!body)
		return r;
	if (q->task) {
		json_decref(body);
		return http_json(q, 200,
		                 json_pack("{s:b,s:o}", "can_move", q->task->status == 0,
		                           "findings", task_lines(q->task)));
	}
	bool ok = may_touch(q, body, &p, &r);

	if (ok && host && !host_ok(host)) {
		r = http_problem(q, 422, "bad-value", "destination is no host name");
		ok = false;
	}
	snprintf(dest, sizeof(dest), "%s", host ? host : "");
	json_decref(body);
	if (!ok)
		return r;
	snprintf(pid, sizeof(pid), "%d", p.pid);
	const char *argv[] = { q->api->haul, "--json", "check", pid, dest[0] ? dest : NULL, NULL };

	return task_start(q, argv);
}

/* ---- peers: the hosts whose keys are trusted ---- */

/* "[hostB]:4285 ssh-ed25519 ..." or "hostB ssh-ed25519 ..." */
static void add_peer(json_t *v, char *line)
{
	char *name = strtok(line, " ,\t\n"), *end;
	long port = 4285;
	json_t *o;
	size_t i;

	if (!name || *name == '#' || *name == '|' || *name == '@')
		return;
	if (*name == '[' && (end = strchr(++name, ']'))) {
		if (end[1] == ':')
			port = strtol(end + 2, NULL, 10);
		*end = 0;
	}
	json_array_foreach(v, i, o)
	{
		if (!strcmp(json_string_value(json_object_get(o, "host")), name))
			return;
	}
	if (host_ok(name))
		json_array_append_new(
		        v, json_pack("{s:s,s:I}", "host", name, "port", (json_int_t)port));
}

int get_peers(struct req *q)
{
	AUTO(file) FILE *f = fopen("/etc/haul/known_hosts", "re");
	json_t *v = json_array();
	char line[4096];

	while (f && fgets(line, sizeof(line), f))
		add_peer(v, line);
	return http_json(q, 200, json_pack("{s:o}", "peers", v));
}

/* ---- a new migration ---- */

static void arg(json_t *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void arg(json_t *args, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(args, json_string(text));
}

static int set_option(struct policy *p, const char *key, json_t *value, json_t *args, struct err *e)
{
	char text[64];

	if (json_is_integer(value))
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
	else
		snprintf(text, sizeof(text), "%s",
		         json_is_string(value) ? json_string_value(value) : "");
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (!strcmp(pol_table[i].name, key)) {
			int r = pol_set_text(p, i, text, e);

			if (r == 0)
				arg(args, "--%s=%s", key, text);
			return r;
		}
	return err_set(e, ERR_USER, EINVAL, "options: \"%s\" is none", key);
}

/* This migration's share of the bandwidth of all. */
static void share_bandwidth(const struct api_conf *c, struct policy *p, json_t *args)
{
	unsigned int share = c->bandwidth_mbit / c->running_max;

	if (c->bandwidth_mbit && share == 0)
		share = 1;
	if (share && (p->v.bandwidth_limit_mbit == 0 || p->v.bandwidth_limit_mbit > share))
		arg(args, "--bandwidth-limit-mbit=%u", share);
}

static int policy_of(struct req *q, json_t *body, json_t *args, struct err *e)
{
	const char *name = json_string_value(json_object_get(body, "policy")), *key;
	json_t *options = json_object_get(body, "options"), *value;
	struct policy p;
	int r;

	pol_init(&p);
	name = name ? name : "default";
	if (!name_ok(name))
		return err_set(e, ERR_USER, EINVAL, "policy is no name");
	if (q->who.role == ROLE_USER &&
	    (!listed(q->api->conf->user_policies, name) || json_object_size(options)))
		return err_set(e, ERR_USER, EPERM, "users may name these policies only: %s",
		               q->api->conf->user_policies[0] ? q->api->conf->user_policies
		                                              : "(none)");
	r = pol_load(&p, name, e);
	arg(args, "--policy=%s", name);
	json_object_foreach(options, key, value)
	{
		if (r == 0)
			r = set_option(&p, key, value, args, e);
	}
	if (r == 0)
		r = pol_contradiction(&p, e);
	share_bandwidth(q->api->conf, &p, args);
	return r;
}

static bool known_keys(json_t *body, struct err *e)
{
	static const char *const keys[] = { "pid",    "destination", "port",
		                            "policy", "options",     "priority" };
	const char *key;
	json_t *value;

	json_object_foreach(body, key, value)
	{
		size_t i = 0;

		while (i < ARRAY_SIZE(keys) && strcmp(keys[i], key))
			i++;
		if (i == ARRAY_SIZE(keys)) {
			err_set(e, ERR_USER, EINVAL, "\"%s\" is not known here", key);
			return false;
		}
		(void)value;
	}
	return true;
}

/* -> the spec as it is kept; NULL with @e */
static json_t *spec_of(struct req *q, json_t *body, const struct proc *p, struct err *e)
{
	const char *dest = json_string_value(json_object_get(body, "destination"));
	const char *policy = json_string_value(json_object_get(body, "policy"));
	json_t *port = json_object_get(body, "port"), *prio = json_object_get(body, "priority");
	json_t *args = json_array(), *comm = json_string(p->comm);

	if (!host_ok(dest))
		err_set(e, ERR_USER, EINVAL, "destination is no host name");
	if (port && (json_integer_value(port) < 1 || json_integer_value(port) > 65535))
		err_set(e, ERR_USER, EINVAL, "port is a number from 1 to 65535");
	if (prio && (!json_is_integer(prio) || llabs(json_integer_value(prio)) > 1000))
		err_set(e, ERR_USER, EINVAL, "priority is a number from -1000 to 1000");
	arg(args, "%s", q->api->haul);
	arg(args, "--json");
	arg(args, "--config=%s", q->api->conf->config);
	if (port)
		arg(args, "--port=%lld", (long long)json_integer_value(port));
	if (e->src || policy_of(q, body, args, e) < 0) {
		json_decref(args);
		json_decref(comm);
		return NULL;
	}
	arg(args, "%d", p->pid);
	arg(args, "%s", dest);
	return json_pack("{s:i,s:I,s:o,s:s,s:s,s:O*,s:I,s:I,s:s,s:o,s:O}", "pid", p->pid,
	                 "pid_start", (json_int_t)p->start, "comm", comm ? comm : json_string("?"),
	                 "destination", dest, "policy", policy ? policy : "default", "options",
	                 json_object_get(body, "options"), "priority", json_integer_value(prio),
	                 "uid", (json_int_t)p->uid, "owner", q->who.name, "args", args, "request",
	                 body);
}

/* The same key and the same request: the same migration. */
static struct job *with_key(struct req *q, const char *key)
{
	for (size_t i = q->api->n_jobs; i-- > 0;) {
		struct job *j = q->api->job[i];
		const char *has = json_string_value(json_object_get(j->spec, "key"));
		const char *owner = json_string_value(json_object_get(j->spec, "owner"));

		if (has && !strcmp(has, key) && owner && !strcmp(owner, q->who.name))
			return j;
	}
	return NULL;
}

static int again(struct req *q, const struct job *j, json_t *body)
{
	if (json_equal(json_object_get(j->spec, "request"), body))
		return http_json(q, 200, json_incref(j->view));
	return http_problem(q, 422, "key-reused",
	                    "this Idempotency-Key was that of another request");
}

static const struct job *busy(struct req *q, pid_t pid)
{
	for (size_t i = 0; i < q->api->n_jobs; i++)
		if (q->api->job[i]->pid == pid && !job_over(q->api->job[i]))
			return q->api->job[i];
	return NULL;
}

static int create(struct req *q, json_t *body, const char *key)
{
	struct err e = ERR_INIT;
	struct proc p = { 0 };
	const struct job *other;
	int r = MHD_NO;

	if (!known_keys(body, &e))
		return http_problem(q, 422, "bad-value", "%s", e.msg);
	if (!may_touch(q, body, &p, &r))
		return r;
	if ((other = busy(q, p.pid)))
		return http_problem(q, 409, "busy-process", "migration %s of this process is %s",
		                    other->id, job_status_name(other->status));
	json_t *spec = spec_of(q, body, &p, &e);

	if (!spec)
		return http_problem(q, e.code == EPERM ? 403 : 422,
		                    e.code == EPERM ? "forbidden" : "bad-value", "%s", e.msg);
	if (key)
		json_object_set_new(spec, "key", json_string(key));
	struct job *j = jobs_new(q->api, spec, &e);

	if (!j)
		return http_problem(q, 507, "not-stored", "%s", e.msg);
	jobs_schedule(q->api);
	return http_json(q, 201, json_incref(j->view));
}

int post_migration(struct req *q)
{
	const char *key = http_header(q, "Idempotency-Key");
	int r = MHD_NO;
	json_t *body = http_body(q, &r);

	if (!body)
		return r;
	if (key && strlen(key) > 128)
		r = http_problem(q, 422, "bad-value", "the Idempotency-Key is too long");
	else if (key && with_key(q, key))
		r = again(q, with_key(q, key), body);
	else
		r = create(q, body, key);
	json_decref(body);
	return r;
}
