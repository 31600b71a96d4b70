// SPDX-License-Identifier: GPL-2.0-or-later
/* reply.c - answers to requests, and what is read of a request. */
#include "agent/api/reply.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/printable.h"

#define CSP "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

int reply_send(struct req *q, unsigned int status, struct MHD_Response *r, const char *type)
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
	return reply_send(
	        q, status,
	        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE), type);
}

int reply_text(struct req *q, const char *type, char *text)
{
	return send_text(q, 200, type, text);
}

int reply_json(struct req *q, unsigned int status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(6));

	json_decref(body);
	return send_text(q, status, "application/json", text);
}

int reply_problem(struct req *q, unsigned int status, const char *code, const char *fmt, ...)
{
	char detail[ERR_MSG_BYTES + ERR_FIX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	printable(detail);
	json_t *o = json_pack("{s:s,s:i,s:s}", "type", "about:blank", "status", (int)status, "code",
	                      code);
	json_object_set_new(o, "detail", json_string(detail));
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	return send_text(q, status, "application/problem+json", text);
}

json_t *reply_body(struct req *q, int *r)
{
	const char *type = reply_header(q, "Content-Type");
	json_error_t why;

	/* a form on another site cannot send this type */
	if (!type || strncmp(type, "application/json", 16)) {
		*r = reply_problem(q, 415, "media-type", "the body must be application/json");
		return NULL;
	}
	json_t *o = json_loadb(q->body ? q->body : "", q->body_bytes, JSON_REJECT_DUPLICATES, &why);

	if (json_is_object(o))
		return o;
	*r = reply_problem(q, 400, "bad-json", "line %d: %s", why.line,
	                   o ? "it must be an object" : why.text);
	json_decref(o);
	return NULL;
}

const char *reply_query(const struct req *q, const char *key)
{
	return MHD_lookup_connection_value(q->c, MHD_GET_ARGUMENT_KIND, key);
}

const char *reply_header(const struct req *q, const char *key)
{
	return MHD_lookup_connection_value(q->c, MHD_HEADER_KIND, key);
}

const char *reply_cookie(const struct req *q)
{
	return MHD_lookup_connection_value(q->c, MHD_COOKIE_KIND, REPLY_COOKIE);
}
