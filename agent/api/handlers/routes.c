// SPDX-License-Identifier: GPL-2.0-or-later
/* routes.c - one function for each method of each path; docs/openapi.json has the same table. */
#include "agent/api/handlers/routes.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "agent/api/api.h"
#include "agent/api/feed.h"
#include "agent/api/jobs.h"
#include "agent/api/metrics.h"
#include "agent/api/handlers/new_migration.h"
#include "agent/api/handlers/page.h"
#include "agent/api/handlers/policies.h"
#include "agent/api/handlers/processes.h"
#include "agent/api/session.h"
#include "agent/api/task.h"
#include "common/auto.h"
#include "common/conf.h"
#include "config.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX     500

/* ---- about hauld ---- */

static int get_health(struct req *q)
{
	return reply_json(q, 200, json_pack("{s:s}", "status", "ok"));
}

static int get_ready(struct req *q)
{
	char criu[512] = "CRIU";
	struct err e = ERR_INIT;

	if (access(q->api->haul, X_OK) < 0)
		return reply_problem(q, 503, "not-ready", "%s: %s", q->api->haul, strerror(errno));
	if (conf_criu(criu, sizeof(criu), NULL, q->api->conf->config, &e) < 0)
		return reply_problem(q, 503, "not-ready", "%s", e.msg);
	if (access(criu, X_OK) < 0)
		return reply_problem(q, 503, "not-ready", "%s: %s", criu, strerror(errno));
	return get_health(q);
}

static int get_version(struct req *q)
{
	struct utsname u;

	uname(&u);
	return reply_json(q, 200,
	                  json_pack("{s:s,s:s,s:s,s:s,s:s}", "program", PACKAGE_STRING, "api", "1",
	                            "host", u.nodename, "kernel", u.release, "you", q->who.name));
}

static int get_metrics(struct req *q)
{
	return reply_text(q, "text/plain; version=0.0.4; charset=utf-8", metrics_text(q->api));
}

/* ---- a browser's session: a random id, in a cookie that no script can read ---- */

static int session_cookie(struct req *q, const char *id, json_t *body)
{
	char cookie[200];
	char *text = json_dumps(body, JSON_COMPACT);
	struct MHD_Response *r = text ? MHD_create_response_from_buffer(strlen(text), text,
	                                                                MHD_RESPMEM_MUST_FREE)
	                              : NULL;

	json_decref(body);
	snprintf(cookie, sizeof(cookie),
	         REPLY_COOKIE "=%s; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=%d", id,
	         *id ? SESSION_LIMIT_S : 0);
	if (r)
		MHD_add_response_header(r, "Set-Cookie", cookie);
	return reply_send(q, 200, r, "application/json");
}

static int foreign_page(struct req *q)
{
	return reply_problem(q, 403, "origin", "the request comes from a page of another site");
}

static int session_refused(struct req *q, int status)
{
	if (status == 429)
		return reply_problem(q, 429, "slow-down",
		                     "too many failed attempts: wait a minute");
	if (status == 503)
		return reply_problem(q, 503, "busy", "no session can be opened now");
	return reply_problem(q, 401, "unauthorized", "this token is not known");
}

static int post_session(struct req *q)
{
	int r = MHD_NO;
	json_t *body = reply_body(q, &r);
	const char *token = json_string_value(json_object_get(body, "token"));
	char id[SESSION_ID_BYTES] = "";

	if (!body)
		return r;
	r = access_same_origin(q, false) ? access_session(q, token ? token : "", &q->who, id) : 403;
	json_decref(body);
	if (r)
		return r == 403 ? foreign_page(q) : session_refused(q, r);
	return session_cookie(q, id, json_pack("{s:s}", "name", q->who.name));
}

static int delete_session(struct req *q)
{
	const char *id = reply_cookie(q);

	if (!access_same_origin(q, id))
		return foreign_page(q);
	if (id)
		session_end(id);
	return session_cookie(q, "", json_object());
}

/* ---- migrations ---- */

static bool mine(const struct req *q, const struct job *j)
{
	return q->who.role != ROLE_USER || j->uid == q->who.uid;
}

static struct job *job_of(struct req *q, int *r)
{
	struct job *j = jobs_find(q->api, q->arg);

	if (j && mine(q, j))
		return j;
	*r = reply_problem(q, 404, "not-found", "migration %s does not exist", q->arg);
	return NULL;
}

static bool wanted(const struct req *q, const struct job *j)
{
	static const char *const keys[] = { "status", "destination", "owner", "migration" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *want = reply_query(q, keys[i]);
		const char *is = json_string_value(json_object_get(j->view, keys[i]));

		if (want && (!is || strcmp(want, is)))
			return false;
	}
	const char *pid = reply_query(q, "pid");

	return mine(q, j) && (!pid || atoi(pid) == j->pid);
}

/* Newest first; the cursor is the id of the last one shown. */
static int get_migrations(struct req *q)
{
	const char *text = reply_query(q, "limit"), *after = reply_query(q, "cursor"), *next = NULL;
	long limit = text ? strtol(text, NULL, 10) : PAGE_DEFAULT;
	const struct job *from = after ? jobs_find(q->api, after) : NULL;
	json_t *v = json_array();

	if (limit < 1 || limit > PAGE_MAX || (after && !from)) {
		json_decref(v);
		return reply_problem(q, 400, "bad-request", "%s",
		                     from || !after ? "limit must be a number from 1 to 500"
		                                    : "the cursor is not the ID of a migration");
	}
	for (size_t i = q->api->n_jobs; i-- > 0;) {
		const struct job *j = q->api->job[i];

		if ((from && j->seq >= from->seq) || !wanted(q, j))
			continue;
		if (json_array_size(v) == (size_t)limit) {
			next = json_string_value(
			        json_object_get(json_array_get(v, (size_t)limit - 1), "id"));
			break;
		}
		json_array_append(v, j->view);
	}
	struct stat st = { 0 };

	fstat(q->api->all_fd, &st);
	return reply_json(q, 200,
	                  json_pack("{s:o,s:s?,s:I}", "migrations", v, "next", next, "position",
	                            (json_int_t)st.st_size));
}

static int get_migration(struct req *q)
{
	int r = MHD_NO;
	struct job *j = job_of(q, &r);

	return j ? reply_json(q, 200, json_incref(j->view)) : r;
}

static int cancel_migration(struct req *q)
{
	struct err e = ERR_INIT;
	int r = MHD_NO;
	struct job *j = job_of(q, &r);

	if (!j)
		return r;
	if (q->who.role == ROLE_USER && (!j->by_user || j->by_uid != q->who.uid))
		return reply_problem(q, 403, "forbidden",
		                     "%s started this migration: only operators may cancel it",
		                     json_string_value(json_object_get(j->spec, "owner")));
	if (jobs_cancel(q->api, j, &e) < 0)
		return reply_problem(q, e.code == EALREADY ? 409 : 500,
		                     e.code == EALREADY ? "over" : "internal", "%s", e.msg);
	return reply_json(q, 202, json_incref(j->view));
}

/* The option of haul resolve that @body asks for; NULL: none */
static const char *resolve_option(json_t *body)
{
	const char *copy = json_string_value(json_object_get(body, "copy_here"));

	if (copy && !strcmp(copy, "keep"))
		return "--keep-here";
	return copy && !strcmp(copy, "drop") ? "--drop-here" : NULL;
}

/* haul resolve has ended */
static int resolved(struct req *q)
{
	int r = MHD_NO;
	struct job *j = job_of(q, &r);
	json_t *body = j ? reply_body(q, &r) : NULL, *lines, *o;
	size_t i;

	if (!body)
		return r;
	bool kept = !strcmp(resolve_option(body), "--keep-here");

	json_decref(body);
	if (q->task->status == 0) {
		jobs_resolved(q->api, j, kept);
		return reply_json(q, 200, json_incref(j->view));
	}
	lines = task_lines(q->task);
	json_array_foreach(lines, i, o)
	{
		const char *text = json_string_value(json_object_get(o, "text"));

		if (text && r == MHD_NO)
			r = reply_problem(q, 409, "not-resolved", "%s", text);
	}
	json_decref(lines);
	return r == MHD_NO ? reply_problem(q, 409, "not-resolved",
	                                   "haul resolve ended with status %d", q->task->status)
	                   : r;
}

static int resolve_migration(struct req *q)
{
	int r = MHD_NO;
	struct job *j = job_of(q, &r);
	json_t *body = j ? reply_body(q, &r) : NULL;
	const char *id = j ? json_string_value(json_object_get(j->view, "migration")) : NULL;
	const char *how = resolve_option(body);

	if (!j || !body)
		return r;
	json_decref(body);
	if (!how)
		return reply_problem(q, 422, "bad-value", "copy_here must be \"keep\" or \"drop\"");
	if (j->status != JOB_UNRESOLVED && j->status != JOB_INTERRUPTED)
		return reply_problem(q, 409, "not-open", "it is %s: there is nothing to resolve",
		                     job_status_name(j->status));
	if (!id)
		return reply_problem(q, 409, "not-open", "it never reached the destination");
	const char *argv[] = { q->api->haul, "--json", "resolve", "--yes", how, id, NULL };

	return task_start(q, q->api->haul, argv, resolved);
}

static int get_events(struct req *q)
{
	return feed_start(q, NULL);
}

static int get_migration_events(struct req *q)
{
	int r = MHD_NO;
	struct job *j = job_of(q, &r);

	return j ? feed_start(q, j) : r;
}

const struct route routes[] = {
	{ "GET", "/", ROLE_NOBODY, true, page_get },
	{ "GET", "/page/app.css", ROLE_NOBODY, true, page_get },
	{ "GET", "/page/app.js", ROLE_NOBODY, true, page_get },
	{ "GET", "/page/chart.js", ROLE_NOBODY, true, page_get },
	{ "GET", "/page/icon.svg", ROLE_NOBODY, true, page_get },
	{ "GET", "/healthz", ROLE_NOBODY, true, get_health },
	{ "GET", "/readyz", ROLE_NOBODY, true, get_ready },
	{ "GET", "/metrics", ROLE_READ, false, get_metrics },
	{ "POST", "/v1/session", ROLE_NOBODY, true, post_session },
	{ "DELETE", "/v1/session", ROLE_NOBODY, true, delete_session },
	{ "GET", "/v1/openapi.json", ROLE_NOBODY, true, page_get },
	{ "GET", "/v1/version", ROLE_READ, true, get_version },
	{ "GET", "/v1/migrations", ROLE_READ, true, get_migrations },
	{ "POST", "/v1/migrations", ROLE_OPERATE, true, new_migration_post },
	{ "GET", "/v1/migrations/*", ROLE_READ, true, get_migration },
	{ "GET", "/v1/migrations/*/events", ROLE_READ, true, get_migration_events },
	{ "POST", "/v1/migrations/*/cancel", ROLE_OPERATE, true, cancel_migration },
	{ "POST", "/v1/migrations/*/resolve", ROLE_ADMIN, false, resolve_migration },
	{ "GET", "/v1/events", ROLE_READ, true, get_events },
	{ "GET", "/v1/processes", ROLE_READ, true, processes_get },
	{ "POST", "/v1/check", ROLE_OPERATE, true, processes_check },
	{ "GET", "/v1/peers", ROLE_READ, true, processes_peers },
	{ "GET", "/v1/policies", ROLE_READ, true, policies_list },
	{ "POST", "/v1/policies/validate", ROLE_READ, true, policies_validate },
	{ "GET", "/v1/policies/*", ROLE_READ, true, policies_get },
	{ "PUT", "/v1/policies/*", ROLE_ADMIN, false, policies_put },
	{ 0 },
};
