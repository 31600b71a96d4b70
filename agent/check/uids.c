// SPDX-License-Identifier: GPL-2.0-or-later
/* uids.c - whose processes a key may send here, and what rights beside the user's own they may have. */
#include "agent/check/uids.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/check/allow.h"
#include "common/host/account.h"
#include "common/auto.h"
#include "transport/msg/haul.pb-c.h"

#define UID_NONE 4294967295u /* the kernel's "no user" */

static const char blank[] = " \t";

/* ---- the list: [FINGERPRINT=]UID[-UID] ... ---- */

struct range {
	uint32_t from, to;
};

static bool number(const char **s, uint32_t *out)
{
	char *end;
	unsigned long long v = strtoull(*s, &end, 10);

	if (**s < '0' || **s > '9' || v >= UID_NONE)
		return false;
	*s = end;
	*out = (uint32_t)v;
	return true;
}

/* One word of @n bytes. @print, @print_n: its fingerprint; none: NULL */
static bool parse(const char *word, size_t n, struct range *out, const char **print,
                  size_t *print_n)
{
	const char *eq = memchr(word, '=', n), *s = word;

	*print = eq ? word : NULL;
	*print_n = eq ? (size_t)(eq - word) : 0;
	if (eq)
		s = eq + 1;
	if (!number(&s, &out->from))
		return false;
	out->to = out->from;
	if (*s == '-' && (s++, !number(&s, &out->to)))
		return false;
	return s == word + n && out->from <= out->to;
}

const char *uids_fault(const char *allow, char *word, size_t bytes)
{
	for (const char *p = allow; *(p += strspn(p, blank));) {
		size_t n = strcspn(p, blank), print_n;
		const char *print;
		struct range r;

		if (!parse(p, n, &r, &print, &print_n)) {
			snprintf(word, bytes, "%.*s", (int)n, p);
			return word;
		}
		p += n;
	}
	return NULL;
}

static bool in_list(const struct uids *u, uint32_t uid)
{
	for (const char *p = u->allow; *(p += strspn(p, blank));) {
		size_t n = strcspn(p, blank), print_n;
		const char *print;
		struct range r;

		if (parse(p, n, &r, &print, &print_n) && uid >= r.from && uid <= r.to &&
		    (!print || allow_key(u->key, print, print_n)))
			return true;
		p += n;
	}
	return false;
}

int uids_load(struct uids *u, const char *config, const char *key, const Haul__Offer *o,
              struct err *e)
{
	char word[64];
	int r = conf_get(config, CONF_UIDS_ALLOW, u->allow, sizeof(u->allow), e);

	if (r < 0)
		return r;
	u->limited = r && (key || o->owned);
	if (r &&
	    uids_fault(u->allow, word, sizeof(word))) /* what is not understood allows nobody */
		return err_set(e, ERR_USER, EINVAL, "%s: uids-allow: \"%s\" is not a user ID",
		               config, word);
	snprintf(u->key, sizeof(u->key), "%s", key ? key : "");
	u->owned = o->owned;
	u->owner = o->owner;
	return 0;
}

bool uids_below_root(const struct uids *u)
{
	return u->limited && !in_list(u, 0);
}

/* ---- one thread ---- */

static int deny(struct err *e, const char *fix, const char *fmt, uint32_t a, uint32_t b)
{
	err_set(e, ERR_TARGET, EPERM, fmt, a, b);
	return err_fix(e, "%s", fix);
}

static int judge_uid(const struct uids *u, uint32_t uid, struct err *e)
{
	if (u->owned && uid != u->owner)
		return deny(e, "only root may move it",
		            "a process acts as user %u, but the move was started for user %u", uid,
		            u->owner);
	if (u->limited && !in_list(u, uid))
		return deny(e, "there, in haul.conf: uids-allow = UID ...",
		            "processes of user %u may not come from this host", uid, 0);
	return 0;
}

static int judge_rest(const struct account *a, const struct uids_thread *t, struct err *e)
{
	const char *fix = "give the user that group on both hosts, or let root move the process "
	                  "with a key that has no uids-allow";

	for (size_t i = 0; i < t->n_gid; i++)
		if (!account_has(a, t->gid[i]))
			return deny(e, fix, "user %u does not have group %u here", a->uid,
			            t->gid[i]);
	for (size_t i = 0; i < t->n_group; i++)
		if (!account_has(a, t->group[i]))
			return deny(e, fix, "user %u does not have group %u here", a->uid,
			            t->group[i]);
	if (t->caps)
		return deny(e, "let root move it with a key that has no uids-allow",
		            "a process of user %u has capabilities", a->uid, 0);
	return 0;
}

int uids_judge(const struct uids *u, const struct uids_thread *t, struct err *e)
{
	bool root = false;

	if (!u->owned && !u->limited)
		return 0;
	for (size_t i = 0; i < t->n_uid; i++) {
		int r = judge_uid(u, t->uid[i], e);

		if (r < 0)
			return r;
		root |= t->uid[i] == 0;
	}
	if (root) /* allowed by the list, or its own move */
		return 0;
	for (size_t i = 0; i < t->n_uid; i++) {
		struct account a;
		int r = account_load(&a, t->uid[i]);

		if (r < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for the groups of a user");
		r = judge_rest(&a, t, e);
		account_fini(&a);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the offer ---- */

/* The same number is the same user: what a user starts must not arrive at another user's. */
static int check_owner(const struct uids *u, const Haul__Offer *o, struct findings *out)
{
	struct account a;
	int r = account_load(&a, u->owner);

	if (r == 0 && strcmp(a.name, o->owner_name))
		r = finding_add(out, SEV_BLOCKER, "user-differs",
		                "give the same number to the same user on both hosts, or let root "
		                "move the process",
		                "user %u is %s at the source, but %s at the destination", u->owner,
		                o->owner_name[0] ? o->owner_name : "without a name",
		                a.name[0] ? a.name : "does not exist");
	account_fini(&a);
	return r;
}

/* What only root may do here is not for a key that is limited to users. */
static int check_means(const Haul__Offer *o, struct findings *out)
{
	const struct {
		bool used;
		const char *what;
	} means[] = {
		{ o->n_tree > 0, "directories (--fs)" },
		{ o->into_root[0], "other root directory (--into-root)" },
		{ o->unit[0], "services" },
		{ o->land[0] && !o->owned, "trees for a haul land (--as)" },
		{ o->net && o->net->n_move > 0, "addresses (--move-address)" },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(means); i++)
		if (means[i].used)
			r = finding_add(out, SEV_BLOCKER, "user-denied",
			                "use a key that has no uids-allow there, or one with 0",
			                "uids-allow at the destination: this key brings processes "
			                "of users, and no %s",
			                means[i].what);
	return r;
}

int uids_check(const struct uids *u, const Haul__Offer *o, struct findings *out)
{
	int r = u->owned ? check_owner(u, o, out) : 0;

	if (r == 0 && uids_below_root(u))
		r = check_means(o, out);
	if (r < 0)
		return r;
	if ((u->owned || u->limited) && !o->n_identity)
		r = finding_add(out, SEV_BLOCKER, "user-denied",
		                "install the same haul on both hosts",
		                "the source does not say whose processes these are");
	for (size_t i = 0; r == 0 && i < o->n_identity; i++) {
		const Haul__Identity *id = o->identity[i];
		struct uids_thread t = { .uid = &id->uid,
			                 .n_uid = 1,
			                 .gid = &id->gid,
			                 .n_gid = 1,
			                 .group = id->group,
			                 .n_group = id->n_group,
			                 .caps = id->caps };
		struct err e = ERR_INIT;

		r = uids_judge(u, &t, &e);
		if (r == -EPERM)
			r = finding_add(out, SEV_BLOCKER, "user-denied", e.fix, "%s", e.msg);
	}
	return r;
}
