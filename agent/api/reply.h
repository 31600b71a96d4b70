/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reply.h - a request, how to read it, and how to answer it. */
#ifndef HAUL_AGENT_API_REPLY_H
#define HAUL_AGENT_API_REPLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/api/access.h"

#define API_BODY_MAX 65536

struct MHD_Connection;
struct MHD_Response;
struct api;
struct route;
struct task;

struct req {
	struct api *api;
	struct MHD_Connection *c;
	const struct route *route;
	char arg[64]; /* the segment of the path in place of the route's star */
	struct who who;
	char *body;
	size_t body_bytes;
	unsigned int refused; /* the status; 0: the request is accepted */
	const char *refused_code, *refused_text;
	struct task *task; /* a command that was started for it */
	int (*then)(struct req *q); /* answers when that command has ended */
};

/* A handler answers with a reply_*() or starts a task. Return: enum MHD_Result */
struct route {
	const char *method, *path;
	enum role need; /* ROLE_NOBODY: everyone */
	bool user; /* ROLE_USER may call it, too; the handler limits it to the caller's own */
	int (*run)(struct req *q);
};

/* The functions that answer return what a handler returns, enum MHD_Result. */

/** reply_json() - @body: taken */
int reply_json(struct req *q, unsigned int status, json_t *body);
/** reply_problem() - application/problem+json; programs may rely on @code */
int reply_problem(struct req *q, unsigned int status, const char *code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/** reply_text() - status 200; @text: taken */
int reply_text(struct req *q, const char *type, char *text);
/** reply_send() - @r: taken; gets the headers that all answers have. @type: NULL: none */
int reply_send(struct req *q, unsigned int status, struct MHD_Response *r, const char *type);

/**
 * reply_body() - the request's body as a JSON object
 * Return: the caller's; NULL after a problem was answered, whose result is in @r
 */
json_t *reply_body(struct req *q, int *r);
/** reply_query() - a parameter of the address, borrowed. Return: NULL when it is absent */
const char *reply_query(const struct req *q, const char *key);
/** reply_header() - a header of the request, borrowed. Return: NULL when it is absent */
const char *reply_header(const struct req *q, const char *key);
/* The prefix makes browsers take the cookie only from this host, with Secure and for all paths. */
#define REPLY_COOKIE "__Host-haul"
/** reply_cookie() - the id of a browser's session, borrowed. Return: NULL: none */
const char *reply_cookie(const struct req *q);

#endif
