// SPDX-License-Identifier: GPL-2.0-or-later
/* arguments.c - from a request to move or check a process to the command line of haul. */
#include "agent/api/arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/access.h"
#include "agent/api/api.h"
#include "agent/api/reply.h"
#include "agent/api/names.h"
#include "hauler/options/options.h"
#include "policies/policies.h"

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
	char text[OPTIONS_TEXT_BYTES + 64];
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

			if (r < 0)
				return r;
			arg(args, "--%s=%s", key, text);
			return 0;
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

static int take_options(const struct req *q, struct policy *p, json_t *options, json_t *args,
                        struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach(options, key, value)
	{
		if (q->who.role != ROLE_ADMIN && is_admins(key, value))
			return err_set(
			        e, ERR_USER, EPERM,
			        "options: files=ship-differing is for admins only; a policy may "
			        "have it for operators");
		int r = set_option(p, key, value, args, e);

		if (r < 0)
			return r;
	}
	return pol_contradiction(p, e);
}

static int policy_of(struct req *q, json_t *body, json_t *args, struct err *e)
{
	const char *name = json_string_value(json_object_get(body, "policy"));
	json_t *options = json_object_get(body, "options");
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
	if (r == 0)
		r = take_options(q, &p, options, args, e);
	share_bandwidth(q->api->conf, &p, args);
	return r;
}

/* ---- options of the table ---- */

static int add_text(const struct option_row *row, json_t *v, json_t *args, struct err *e)
{
	const char *text = json_string_value(v);

	if (!text || strlen(text) > OPTIONS_TEXT_BYTES || strpbrk(text, "\n\r"))
		return err_set(e, ERR_USER, EINVAL, "%s must be a text of one line", row->key);
	arg(args, "--%s=%s", row->name, text);
	return 0;
}

static int add_list(const struct option_row *row, json_t *v, json_t *args, struct err *e)
{
	json_t *one;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) > OPTIONS_LIST_MAX)
		return err_set(e, ERR_USER, EINVAL, "%s must be a list of at most %d texts",
		               row->key, OPTIONS_LIST_MAX);
	json_array_foreach(v, i, one)
	{
		int r = add_text(row, one, args, e);

		if (r)
			return r;
	}
	return 0;
}

static int add_number(const struct option_row *row, json_t *v, json_t *args, struct err *e)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < row->min || n > row->max)
		return err_set(e, ERR_USER, EINVAL, "%s must be a number from %ld to %ld", row->key,
		               row->min, row->max);
	if (row != &options_table[OPTION_PRIORITY]) /* hauld's own queue */
		arg(args, "--%s=%lld", row->name, (long long)n);
	return 0;
}

static int add_option(const struct option_row *row, json_t *v, json_t *args, struct err *e)
{
	switch (row->kind) {
	case OPTION_TEXT:
		return add_text(row, v, args, e);
	case OPTION_NUMBER:
		return add_number(row, v, args, e);
	case OPTION_LIST:
		return add_list(row, v, args, e);
	case OPTION_FLAG:
		break;
	}
	if (!json_is_boolean(v))
		return err_set(e, ERR_USER, EINVAL, "%s must be true or false", row->key);
	if (json_is_true(v))
		arg(args, "--%s", row->name);
	return 0;
}

/*
 * Every key but those that the caller of this has dealt with. An operator's token is not root: what reaches
 * files, directories and addresses that are root's on either host is for an admin, or for a policy that an
 * admin wrote.
 */
static int add_options(const struct req *q, json_t *body, json_t *args, struct err *e)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach(body, key, value)
	{
		const struct option_row *row = options_by_key(key);

		if (r < 0 || row == &options_table[OPTION_POLICY] || !strcmp(key, "pid") ||
		    !strcmp(key, "destination") || !strcmp(key, "options"))
			continue;
		if (!row)
			r = err_set(e, ERR_USER, EINVAL, "\"%s\" is not a key of this request",
			            key);
		else if (q->who.role == ROLE_USER && row->whose > OPTION_USER)
			r = err_set(e, ERR_USER, EPERM, "%s is for operators only", key);
		else if (q->who.role != ROLE_ADMIN && row->whose == OPTION_ADMIN)
			r = err_set(e, ERR_USER, EPERM,
			            "%s is for admins only; a policy may have it for operators",
			            key);
		else
			r = add_option(row, value, args, e);
	}
	return r;
}

/* ---- all of it ---- */

static int put_all(struct req *q, json_t *body, json_t *args, struct err *e)
{
	int r = add_options(q, body, args, e);

	return r < 0 ? r : policy_of(q, body, args, e);
}

json_t *arguments_of(struct req *q, json_t *body, const char *command, pid_t pid, struct err *e)
{
	json_t *host = json_object_get(body, "destination"), *args;

	if ((host || !command) && !names_host_ok(json_string_value(host))) {
		err_set(e, ERR_USER, EINVAL, "destination is not a host name");
		return NULL;
	}
	args = json_array();
	arg(args, "%s", q->api->haul);
	arg(args, "--json");
	arg(args, "--agent=none");
	if (q->who.role == ROLE_USER)
		arg(args, "--owner=%u", q->who.uid);
	if (access(q->api->conf->config, R_OK) == 0)
		arg(args, "--config=%s", q->api->conf->config);
	if (put_all(q, body, args, e) < 0) {
		json_decref(args);
		return NULL;
	}
	if (command)
		arg(args, "%s", command);
	arg(args, "%d", pid);
	if (host)
		arg(args, "%s", json_string_value(host));
	return args;
}
