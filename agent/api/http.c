// SPDX-License-Identifier: GPL-2.0-or-later
/* http.c - libmicrohttpd: which handler a request goes to, and how it is answered. */
#include "agent/api/api.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include "common/auto.h"

#define IDLE_LIMIT_S  30
#define HEADERS_BYTES 32768
#define BODY_READ_MAX (1 << 20)
#define OF_ADDRESS    200 /* connections by TLS */
#define CSP           "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

int http_send(struct req *q, unsigned int status, struct MHD_Response *r, const char *type)
{
	if (!r)
		return MHD_NO;
	if (type)
		MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(r, "Cache-Control", "no-store");
	MHD_add_response_header(r, "Content-Security-Policy", CSP);
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
	int ok = (int)MHD_queue_response(q->c, status, r);

	MHD_destroy_response(r);
	return ok;
}

/* @text: taken */
static int send_text(struct req *q, unsigned int status, const char *type, char *text)
{
	if (!text)
		return MHD_NO;
	return http_send(q, status,
	                 MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE),
	                 type);
}

int http_text(struct req *q, const char *type, char *text)
{
	return send_text(q, 200, type, text);
}

int http_json(struct req *q, unsigned int status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(6));

	json_decref(body);
	return send_text(q, status, "application/json", text);
}

int http_problem(struct req *q, unsigned int status, const char *code, const char *fmt, ...)
{
	char detail[ERR_MSG_BYTES + ERR_FIX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_t *o = json_pack("{s:s,s:i,s:s}", "type", "about:blank", "status", (int)status, "code",
	                      code);
	json_t *d = json_string(detail); /* NULL: not UTF-8 */

	json_object_set_new(o, "detail", d ? d : json_string(code));
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return send_text(q, status, "application/problem+json", text);
}

json_t *http_body(struct req *q, int *r)
{
	const char *type = http_header(q, "Content-Type");
	json_error_t why;

	/* a form of another site cannot send this type */
	if (!type || strncmp(type, "application/json", 16)) {
		*r = http_problem(q, 415, "media-type", "the body has to be application/json");
		return NULL;
	}
	json_t *o = json_loadb(q->body ? q->body : "", q->body_bytes, JSON_REJECT_DUPLICATES, &why);

	if (json_is_object(o))
		return o;
	*r = http_problem(q, 400, "bad-json", "line %d: %s", why.line,
	                  o ? "an object is expected" : why.text);
	json_decref(o);
	return NULL;
}

const char *http_query(const struct req *q, const char *key)
{
	return MHD_lookup_connection_value(q->c, MHD_GET_ARGUMENT_KIND, key);
}

const char *http_header(const struct req *q, const char *key)
{
	return MHD_lookup_connection_value(q->c, MHD_HEADER_KIND, key);
}

const char *http_cookie(const struct req *q)
{
	return MHD_lookup_connection_value(q->c, MHD_COOKIE_KIND, "haul");
}

// "/v1/migrations/*" against "/v1/migrations/7f"; the star is one segment
static bool match(const char *pattern, const char *path, char *arg, size_t bytes)
{
	const char *star = strchr(pattern, '*');

	arg[0] = 0;
	if (!star)
		return !strcmp(pattern, path);
	size_t head = (size_t)(star - pattern), n;

	if (strncmp(pattern, path, head))
		return false;
	n = strcspn(path + head, "/");
	if (n == 0 || n >= bytes || strcmp(path + head + n, star + 1))
		return false;
	snprintf(arg, bytes, "%.*s", (int)n, path + head);
	return true;
}

/* Return: 0; 404 or 405 */
static unsigned int find_route(struct req *q, const char *method, const char *path)
{
	unsigned int status = 404;

	if (!strcmp(method, "HEAD"))
		method = "GET";
	for (const struct route *r = routes; r->path; r++)
		if (match(r->path, path, q->arg, sizeof(q->arg))) {
			if (!strcmp(method, r->method)) {
				q->route = r;
				return 0;
			}
			status = 405;
		}
	return status;
}

static bool allowed(const struct req *q)
{
	const struct route *r = q->route;

	if (r->need == ROLE_NOBODY)
		return true;
	return q->who.role == ROLE_USER ? r->user : q->who.role >= r->need;
}

static void refuse(struct req *q, unsigned int status, const char *code, const char *text)
{
	q->refused = status;
	q->refused_code = code;
	q->refused_text = text;
}

/* Before the body is read: is it for them? Who is refused may send it; it is not kept. */
static void judge(struct req *q, bool tls, const char *path, const char *method)
{
	unsigned int status = find_route(q, method, path);

	if (status == 404)
		refuse(q, status, "not-found", "there is nothing at this path");
	else if (status)
		refuse(q, status, "method", "this path takes other methods");
	else if (q->route->need != ROLE_NOBODY)
		status = (unsigned int)access_who(q, tls, &q->who);
	if (q->refused)
		return;
	if (status == 429)
		refuse(q, status, "slow-down", "too many failed attempts: wait a minute");
	else if (status)
		refuse(q, status, "unauthorized", "a token is needed: Authorization: Bearer TOKEN");
	else if (!allowed(q))
		refuse(q, 403, "forbidden", "who asks may not do this");
}

static int answer_refused(struct req *q)
{
	return http_problem(q, q->refused, q->refused_code, "%s", q->refused_text);
}

/* What is too much is read a while, so that the client hears why, but not kept. */
static int take_body(struct req *q, const char *data, size_t bytes)
{
	size_t all = q->body_bytes + bytes;

	if (all <= API_BODY_MAX && !q->refused) {
		char *more = realloc(q->body, all);

		if (!more)
			return MHD_NO;
		q->body = more;
		memcpy(q->body + q->body_bytes, data, bytes);
	}
	q->body_bytes = all;
	return all <= BODY_READ_MAX ? MHD_YES : MHD_NO;
}

struct listener {
	struct api *api;
	bool tls;
};

static enum MHD_Result handle(void *arg, struct MHD_Connection *c, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *bytes, void **req)
{
	struct listener *l = arg;
	struct req *q = *req;
	const char *length;

	(void)version;
	if (!q) {
		q = *req = calloc(1, sizeof(*q));
		if (!q)
			return MHD_NO;
		q->api = l->api;
		q->c = c;
		judge(q, l->tls, path, method);
		length = http_header(q, "Content-Length");
		if (length && strtoull(length, NULL, 10) > BODY_READ_MAX) {
			refuse(q, 413, "too-large", "the body is too large");
			return (enum MHD_Result)answer_refused(q);
		}
		return MHD_YES;
	}
	if (*bytes) {
		size_t n = *bytes;

		*bytes = 0;
		return (enum MHD_Result)take_body(q, data, n);
	}
	if (q->refused)
		return (enum MHD_Result)answer_refused(q);
	if (q->body_bytes > API_BODY_MAX)
		return (enum MHD_Result)http_problem(q, 413, "too-large", "at most %d bytes",
		                                     API_BODY_MAX);
	if (q->task && !q->task->ended)
		return MHD_YES;
	conn_busy(c, true);
	return (enum MHD_Result)q->route->run(q);
}

static void completed(void *arg, struct MHD_Connection *c, void **req,
                      enum MHD_RequestTerminationCode why)
{
	struct req *q = *req;

	(void)arg;
	(void)why;
	conn_busy(c, false);
	if (!q)
		return;
	if (q->task && q->task->ended)
		task_free(q->api, q->task);
	else if (q->task)
		q->task->q = NULL;
	free(q->body);
	free(q);
	*req = NULL;
}

/* A zero byte would hide what follows it: there is nothing of such a name. */
static size_t unescape(void *arg, struct MHD_Connection *c, char *text)
{
	(void)arg;
	(void)c;
	if (strstr(text, "%00"))
		strcpy(text, "%");
	return MHD_http_unescape(text);
}

static void notify(void *arg, struct MHD_Connection *c, void **context,
                   enum MHD_ConnectionNotificationCode what)
{
	conn_notify(arg, c, context, (int)what);
}

static void complain(void *arg, const char *fmt, va_list ap)
{
	(void)arg;
	(void)fmt;
	(void)ap; /* clients' faults: nothing for a log */
}

struct MHD_Daemon *http_start(struct api *a, int fd, const char *cert, const char *key)
{
	static struct listener listeners[2];
	struct listener *l = &listeners[cert != NULL];
	struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert },
		                        { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key },
		                        { MHD_OPTION_END, 0, NULL } };
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	*l = (struct listener){ a, cert != NULL };
	return MHD_start_daemon(
	        flags | (cert ? MHD_USE_TLS : 0), 0, NULL, NULL, handle, l,
	        MHD_OPTION_EXTERNAL_LOGGER, complain, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
	        MHD_OPTION_CONNECTION_LIMIT, (unsigned int)API_CONNECTIONS,
	        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_LIMIT_S,
	        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_BYTES,
	        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, notify,
	        NULL, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
	        MHD_OPTION_PER_IP_CONNECTION_LIMIT, cert ? (unsigned int)OF_ADDRESS : 0u,
	        MHD_OPTION_ARRAY, cert ? tls : tls + 2, MHD_OPTION_END);
}
