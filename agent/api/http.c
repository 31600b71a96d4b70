// SPDX-License-Identifier: GPL-2.0-or-later
/* http.c - libmicrohttpd: takes requests and gives each to its handler. */
#include "agent/api/http.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include "agent/api/api.h"
#include "agent/api/conn.h"
#include "agent/api/reply.h"
#include "agent/api/task.h"
#include "common/auto.h"

#define IDLE_LIMIT_S  30
#define HEADERS_BYTES 32768
#define BODY_READ_MAX (1 << 20)
/* of GnuTLS: what it has for normal, but nothing before TLS 1.2 */
#define TLS_VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define OF_ADDRESS   200 /* TLS connections of one address */

struct listener {
	struct api *api;
	const struct route *routes;
	bool tls;
};

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
static unsigned int find_route(struct req *q, const struct route *routes, const char *method,
                               const char *path)
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

static bool reads_only(const char *method)
{
	return !strcmp(method, "GET") || !strcmp(method, "HEAD");
}

static void refuse(struct req *q, unsigned int status, const char *code, const char *text)
{
	q->refused = status;
	q->refused_code = code;
	q->refused_text = text;
}

/* Decide before the body is read. A refused client may still send its body; it is not kept. */
static void judge(struct req *q, const struct listener *l, const char *path, const char *method)
{
	unsigned int status = find_route(q, l->routes, method, path);

	if (status == 404)
		refuse(q, status, "not-found", "there is nothing at this path");
	else if (status)
		refuse(q, status, "method", "this path takes other methods");
	else if (q->route->need != ROLE_NOBODY)
		status = (unsigned int)access_who(q, l->tls, &q->who);
	if (q->refused)
		return;
	if (status == 429)
		refuse(q, status, "slow-down", "too many failed attempts: wait a minute");
	else if (status)
		refuse(q, status, "unauthorized", "a token is needed: Authorization: Bearer TOKEN");
	else if (!allowed(q))
		refuse(q, 403, "forbidden", "you may not do this");
	else if (q->who.cookie && !access_same_origin(q, !reads_only(method)))
		refuse(q, 403, "origin", "the request comes from a page of another site");
}

static int answer_refused(struct req *q)
{
	return reply_problem(q, q->refused, q->refused_code, "%s", q->refused_text);
}

/* Read and discard an oversized body for a while, so that the client sees the error. */
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
		judge(q, l, path, method);
		length = reply_header(q, "Content-Length");
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
		return (enum MHD_Result)reply_problem(q, 413, "too-large", "at most %d bytes",
		                                      API_BODY_MAX);
	if (q->task && !q->task->ended)
		return MHD_YES;
	conn_busy(c, true);
	return (enum MHD_Result)(q->task ? q->then(q) : q->route->run(q));
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
		task_abandon(q->task);
	free(q->body);
	free(q);
	*req = NULL;
}

/* A zero byte would hide the rest of the name, so such a name matches nothing. */
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
	(void)ap; /* clients' mistakes do not belong in the log */
}

struct MHD_Daemon *http_start(struct api *a, int fd, const char *cert, const char *key,
                              const struct route *routes)
{
	static struct listener listeners[2];
	struct listener *l = &listeners[cert != NULL];
	struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_VERSIONS },
		                        { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert },
		                        { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key },
		                        { MHD_OPTION_END, 0, NULL } };
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	*l = (struct listener){ a, routes, cert != NULL };
	return MHD_start_daemon(
	        flags | (cert ? MHD_USE_TLS : 0), 0, NULL, NULL, handle, l,
	        MHD_OPTION_EXTERNAL_LOGGER, complain, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
	        MHD_OPTION_CONNECTION_LIMIT, (unsigned int)API_CONNECTIONS,
	        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_LIMIT_S,
	        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_BYTES,
	        MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, notify,
	        NULL, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
	        MHD_OPTION_PER_IP_CONNECTION_LIMIT, cert ? (unsigned int)OF_ADDRESS : 0u,
	        MHD_OPTION_ARRAY, cert ? tls : tls + 3, MHD_OPTION_END);
}
