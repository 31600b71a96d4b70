// SPDX-License-Identifier: GPL-2.0-or-later
/* new_migration.c - POST /v1/migrations: stores and queues a migration, unless it was requested before. */
#include "agent/api/handlers/new_migration.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/api.h"
#include "agent/api/arguments.h"
#include "agent/api/jobs.h"
#include "agent/api/handlers/processes.h"
#include "agent/api/reply.h"
#include "common/auto.h"

#define OF_USER_MAX 100 /* migrations of a user that are queued or running */

/* Return: the spec as it is stored; NULL with @e */
static json_t *spec_of(struct req *q, json_t *body, const struct process *p, struct err *e)
{
	const char *dest = json_string_value(json_object_get(body, "destination"));
	const char *policy = json_string_value(json_object_get(body, "policy"));
	json_t *prio = json_object_get(body, "priority");
	json_t *args = arguments_of(q, body, NULL, p->pid, e);
	json_t *comm = json_string(p->comm);

	if (!args) {
		json_decref(comm);
		return NULL;
	}
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
