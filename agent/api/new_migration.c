// SPDX-License-Identifier: GPL-2.0-or-later
/* new_migration.c - POST /v1/migrations: checks the request and makes a command line of it. */
#include "agent/api/new_migration.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/jobs.h"
#include "agent/api/names.h"
#include "agent/api/processes.h"
#include "agent/api/reply.h"
#include "common/auto.h"
#include "policies/policies.h"

#define MORE_MAX    32
#define MORE_BYTES  1024
#define OF_USER_MAX 100 /* migrations of a user that are queued or running */

/* Is @word in a list of the configuration? */
static bool listed(const char *list, const char *word)
{
	char copy[256], *rest = copy, *w;

	snprintf(copy, sizeof(copy), "%s", list);
	while ((w = strsep(&rest, " ,")))
		if (*w && !strcmp(w, word))
			return true;
	return false;
}

static void arg(json_t *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void arg(json_t *args, const char *fmt, ...)
{
	char text[MORE_BYTES + 64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(args, json_string(text));
}

/* An option that replaces files of the destination */
static bool is_admins(const char *key, json_t *value)
{
	const char *text = json_string_value(value);

	return !strcmp(key, "files") && (!text || !strcmp(text, "ship-differing"));
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
	return err_set(e, ERR_USER, EINVAL, "options: \"%s\" is not an option", key);
}

/* This migration's share of the bandwidth limit. */
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
	if (!names_policy_ok(name))
		return err_set(e, ERR_USER, EINVAL, "policy is not the name of a policy");
	if (q->who.role == ROLE_USER &&
	    (!listed(q->api->conf->user_policies, name) || json_object_size(options)))
		return err_set(e, ERR_USER, EPERM, "users may name only these policies: %s",
		               q->api->conf->user_policies[0] ? q->api->conf->user_policies
		                                              : "(none)");
	r = pol_load(&p, name, e);
	arg(args, "--policy=%s", name);
	json_object_foreach(options, key, value)
	{
		if (r == 0 && q->who.role != ROLE_ADMIN && is_admins(key, value))
			r = err_set(e, ERR_USER, EPERM,
			            "options: files=ship-differing is for admins only; a policy "
			            "may have it for operators");
		if (r == 0)
			r = set_option(&p, key, value, args, e);
	}
	if (r == 0)
		r = pol_contradiction(&p, e);
	share_bandwidth(q->api->conf, &p, args);
	return r;
}

/* Keys that are not policy options, and the option of the command line. */
static const struct more {
	const char *key, *option;
	enum { MORE_LIST, MORE_TEXT, MORE_NUMBER, MORE_YES } kind;
	enum role need; /* ROLE_ADMIN: it takes or gives what is root's on either host */
} more[] = {
	{ "move_address", "move-address", MORE_LIST, ROLE_ADMIN },
	{ "map", "map", MORE_LIST, ROLE_ADMIN },
	{ "close_fd", "close-fd", MORE_LIST, ROLE_OPERATE },
	{ "fs", "fs", MORE_LIST, ROLE_ADMIN },
	{ "exclude", "exclude", MORE_LIST, ROLE_ADMIN },
	{ "fs_from_policy", "fs-from-policy", MORE_YES, ROLE_OPERATE },
	{ "fs_replace", "fs-replace", MORE_YES, ROLE_ADMIN },
	{ "into_root", "into-root", MORE_TEXT, ROLE_ADMIN },
	{ "connect_limit_ms", "connect-limit-ms", MORE_NUMBER, ROLE_OPERATE },
	{ "link_limit_s", "link-limit-s", MORE_NUMBER, ROLE_OPERATE },
};

static const struct more *more_of(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		if (!strcmp(more[i].key, key))
			return &more[i];
	return NULL;
}

static int more_text(const struct more *m, json_t *v, json_t *args, struct err *e)
{
	const char *text = json_string_value(v);

	if (!text || strlen(text) > MORE_BYTES || strpbrk(text, "\n\r"))
		return err_set(e, ERR_USER, EINVAL, "%s must be a text of one line", m->key);
	arg(args, "--%s=%s", m->option, text);
	return 0;
}

static int more_arg(const struct more *m, json_t *v, json_t *args, struct err *e)
{
	json_t *one;
	size_t i;
	int r = 0;

	switch (m->kind) {
	case MORE_TEXT:
		return more_text(m, v, args, e);
	case MORE_NUMBER:
		if (!json_is_integer(v) || json_integer_value(v) < 0)
			return err_set(e, ERR_USER, EINVAL, "%s must be a number", m->key);
		arg(args, "--%s=%lld", m->option, (long long)json_integer_value(v));
		return 0;
	case MORE_YES:
		if (!json_is_boolean(v))
			return err_set(e, ERR_USER, EINVAL, "%s must be true or false", m->key);
		if (json_is_true(v))
			arg(args, "--%s", m->option);
		return 0;
	case MORE_LIST:
		break;
	}
	if (!json_is_array(v) || json_array_size(v) > MORE_MAX)
		return err_set(e, ERR_USER, EINVAL, "%s must be a list of at most %d texts", m->key,
		               MORE_MAX);
	json_array_foreach(v, i, one)
	{
		if (r == 0)
			r = more_text(m, one, args, e);
	}
	return r;
}

/*
 * Users may use none of these. An operator's token is not root: what reaches files, directories and
 * addresses that are root's on either host is for an admin, or for a policy that an admin wrote.
 */
static int more_args(const struct req *q, json_t *body, json_t *args, struct err *e)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(body, key, value)
	{
		const struct more *m = more_of(key);

		if (!m || r < 0)
			continue;
		if (q->who.role == ROLE_USER)
			r = err_set(e, ERR_USER, EPERM, "%s is for operators only", key);
		else if (q->who.role < m->need)
			r = err_set(e, ERR_USER, EPERM,
			            "%s is for admins only; a policy may have it for operators",
			            key);
		else
			r = more_arg(m, value, args, e);
	}
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
		if (i == ARRAY_SIZE(keys) && !more_of(key)) {
			err_set(e, ERR_USER, EINVAL, "\"%s\" is not a key of this request", key);
			return false;
		}
		(void)value;
	}
	return true;
}

/* Return: the spec as it is stored; NULL with @e */
static json_t *spec_of(struct req *q, json_t *body, const struct process *p, struct err *e)
{
	const char *dest = json_string_value(json_object_get(body, "destination"));
	const char *policy = json_string_value(json_object_get(body, "policy"));
	json_t *port = json_object_get(body, "port"), *prio = json_object_get(body, "priority");
	json_t *args = json_array(), *comm = json_string(p->comm);

	if (!names_host_ok(dest))
		err_set(e, ERR_USER, EINVAL, "destination is not a host name");
	if (port && (json_integer_value(port) < 1 || json_integer_value(port) > 65535))
		err_set(e, ERR_USER, EINVAL, "port must be a number from 1 to 65535");
	if (prio && (!json_is_integer(prio) || llabs(json_integer_value(prio)) > 1000))
		err_set(e, ERR_USER, EINVAL, "priority must be a number from -1000 to 1000");
	arg(args, "%s", q->api->haul);
	arg(args, "--json");
	arg(args, "--agent=none");
	if (q->who.role == ROLE_USER)
		arg(args, "--owner=%u", q->who.uid);
	if (access(q->api->conf->config, R_OK) == 0)
		arg(args, "--config=%s", q->api->conf->config);
	if (port)
		arg(args, "--port=%lld", (long long)json_integer_value(port));
	if (e->src || policy_of(q, body, args, e) < 0 || more_args(q, body, args, e) < 0) {
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

/* The migration of the same owner that was requested with this key */
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
		return reply_json(q, 200, json_incref(j->view));
	return reply_problem(q, 422, "key-reused", "another request used this Idempotency-Key");
}

static const struct job *busy(struct req *q, pid_t pid)
{
	for (size_t i = 0; i < q->api->n_jobs; i++)
		if (q->api->job[i]->pid == pid && !job_over(q->api->job[i]))
			return q->api->job[i];
	return NULL;
}

/* Has a user as many migrations that are not over as a user may have? */
static bool too_many(const struct req *q)
{
	unsigned int n = 0;

	for (size_t i = 0; i < q->api->n_jobs; i++)
		n += q->api->job[i]->by_user && q->api->job[i]->by_uid == q->who.uid &&
		     !job_over(q->api->job[i]);
	return q->who.role == ROLE_USER && n >= OF_USER_MAX;
}

static int create(struct req *q, json_t *body, const char *key)
{
	struct err e = ERR_INIT;
	struct process p = { 0 };
	const struct job *other;
	int r = MHD_NO;

	if (!known_keys(body, &e))
		return reply_problem(q, 422, "bad-value", "%s", e.msg);
	if (!process_of_body(q, body, &p, &r))
		return r;
	if ((other = busy(q, p.pid)))
		return reply_problem(q, 409, "busy-process", "migration %s of this process is %s",
		                     other->id, job_status_name(other->status));
	if (too_many(q))
		return reply_problem(q, 503, "busy", "%d migrations of yours are not over yet",
		                     OF_USER_MAX);
	json_t *spec = spec_of(q, body, &p, &e);

	if (!spec)
		return reply_problem(q, e.code == EPERM ? 403 : 422,
		                     e.code == EPERM ? "forbidden" : "bad-value", "%s", e.msg);
	if (key)
		json_object_set_new(spec, "key", json_string(key));
	struct job *j = jobs_new(q->api, spec, &e);

	if (!j)
		return reply_problem(q, 507, "not-stored", "%s", e.msg);
	jobs_schedule(q->api);
	return reply_json(q, 201, json_incref(j->view));
}

int new_migration_post(struct req *q)
{
	const char *key = reply_header(q, "Idempotency-Key");
	int r = MHD_NO;
	json_t *body = reply_body(q, &r);

	if (!body)
		return r;
	if (key && strlen(key) > 128)
		r = reply_problem(q, 422, "bad-value", "the Idempotency-Key is too long");
	else if (key && with_key(q, key))
		r = again(q, with_key(q, key), body);
	else
		r = create(q, body, key);
	json_decref(body);
	return r;
}
