// SPDX-License-Identifier: GPL-2.0-or-later
/* policies.c - lists policies, shows and checks one, stores one for the administrator. */
#include "agent/api/handlers/policies.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/names.h"
#include "agent/api/reply.h"
#include "common/auto.h"
#include "common/log.h"
#include "hauler/options/lists.h"
#include "policies/policies.h"

int policies_list(struct req *q)
{
	size_t n;
	char **names = pol_names(&n);
	json_t *v = json_array();

	for (size_t i = 0; i < n; i++) {
		struct policy p;
		struct err e = ERR_INIT;
		json_t *o = json_pack("{s:s}", "name", names[i]);

		pol_init(&p);
		if (pol_load(&p, names[i], &e) < 0 || lists_check(&p, &e) < 0)
			json_object_set_new(o, "error", json_string(e.msg));
		json_object_set_new(o, "meaning", json_string(p.meaning));
		json_array_append_new(v, o);
	}
	pol_names_free(names, n);
	return reply_json(q, 200, json_pack("{s:o}", "policies", v));
}

static json_t *policy_json(const struct policy *p, const char *name)
{
	json_t *v = json_object(), *o;

	for (size_t i = 0; i < POL_NOPTIONS; i++)
		json_object_set_new(v, pol_table[i].name,
		                    pol_table[i].words
		                            ? json_string(pol_table[i].words[pol_get(p, i)])
		                            : json_integer(pol_get(p, i)));
	o = json_pack("{s:s,s:s,s:o}", "name", name, "meaning", p->meaning, "options", v);
	for (size_t i = 0; i < POL_NLISTS; i++) {
		json_t *list = json_array();

		for (size_t k = 0; k < p->list[i].n; k++)
			json_array_append_new(list, json_string(p->list[i].v[k]));
		json_object_set_new(o, pol_lists[i].name, list);
	}
	return o;
}

int policies_get(struct req *q)
{
	struct policy p;
	struct err e = ERR_INIT;

	pol_init(&p);
	if (!names_policy_ok(q->arg))
		return reply_problem(q, 404, "not-found", "this is not the name of a policy");
	if (pol_load(&p, q->arg, &e) < 0 || lists_check(&p, &e) < 0)
		return reply_problem(q, e.code == ENOENT ? 404 : 409,
		                     e.code == ENOENT ? "not-found" : "bad-policy", "%s", e.msg);
	return reply_json(q, 200, policy_json(&p, q->arg));
}

/* The body as a policy. Return: 0; -1 after the request was answered */
static int take_policy(struct req *q, struct policy *p, const char *name, int *r)
{
	struct err e = ERR_INIT;
	json_t *body = reply_body(q, r);

	if (!body)
		return -1;
	json_decref(body);
	if (pol_load_text(p, name, q->body, q->body_bytes, &e) == 0 && lists_check(p, &e) == 0)
		return 0;
	*r = reply_problem(q, 422, "bad-policy", "%s%s%s", e.msg, e.fix[0] ? "; " : "", e.fix);
	return -1;
}

int policies_validate(struct req *q)
{
	struct policy p;
	int r = MHD_NO;

	if (take_policy(q, &p, "policy", &r) < 0)
		return r;
	return reply_json(q, 200, policy_json(&p, "policy"));
}

static int store(const struct req *q, struct err *e)
{
	char path[600], fresh[600];

	snprintf(path, sizeof(path), "%s/%s.json", POL_DIR_ADMIN, q->arg);
	snprintf(fresh, sizeof(fresh), "%s/.%s.new", POL_DIR_ADMIN, q->arg);
	if (mkdir(POL_DIR_ADMIN, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "%s", POL_DIR_ADMIN);
	AUTO(fd) int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0 || write(fd, q->body, q->body_bytes) != (ssize_t)q->body_bytes ||
	    fsync(fd) < 0 || rename(fresh, path) < 0) {
		err_sys(e, "%s", path);
		unlink(fresh);
		return -e->code;
	}
	return 0;
}

int policies_put(struct req *q)
{
	struct policy p;
	struct err e = ERR_INIT;
	int r = MHD_NO;

	if (!names_policy_ok(q->arg))
		return reply_problem(q, 422, "bad-value",
		                     "a name has letters, digits, - and _, at most 63");
	if (take_policy(q, &p, q->arg, &r) < 0)
		return r;
	if (store(q, &e) < 0)
		return reply_problem(q, 507, "not-stored", "%s", e.msg);
	log_info("policy=%s by=\"%s\"", q->arg, q->who.name);
	return reply_json(q, 200, policy_json(&p, q->arg));
}
