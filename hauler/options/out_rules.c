// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * out_rules.c - rules for files that are connected to processes outside the tree, and the list of
 * files that rules apply to.
 */
#include "hauler/options/out_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/auto.h"
#include "engine/criu/criu.h"
#include "transport/msg/haul.pb-c.h"

/* ---- rules ---- */

/* N or PID/N */
static int parse_fd(const char *text, size_t len, struct out_rule *r)
{
	char copy[32], *end;
	const char *number = copy;

	if (len == 0 || len >= sizeof(copy) || strspn(text, "0123456789/") < len)
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = 0;
	char *slash = strchr(copy, '/');

	if (slash) {
		*slash = 0;
		number = slash + 1;
		long pid = strtol(copy, &end, 10);

		if (end == copy || *end || pid <= 0 || pid > 4194304)
			return -EINVAL;
		r->pid = (pid_t)pid;
	}
	long fd = strtol(number, &end, 10);

	if (!isdigit((unsigned char)*number) || *end || fd > 1048576)
		return -EINVAL;
	r->by = OUT_BY_FD;
	r->fd = (int)fd;
	return 0;
}

static int take_path(const char *text, size_t len, char out[OUT_PATH_BYTES])
{
	if (len == 0 || len >= OUT_PATH_BYTES || (text[0] != '/' && text[0] != '@'))
		return -EINVAL;
	memcpy(out, text, len);
	out[len] = 0;
	return 0;
}

static int parse_what(const char *text, size_t len, struct out_rule *r)
{
	if (len == 3 && !memcmp(text, "tty", 3)) {
		r->by = OUT_BY_TTY;
		return 0;
	}
	if (len > 3 && !memcmp(text, "fd:", 3))
		return parse_fd(text + 3, len - 3, r);
	r->by = OUT_BY_UNIX;
	return len > 5 && !memcmp(text, "unix:", 5) ? take_path(text + 5, len - 5, r->name)
	                                            : -EINVAL;
}

static int parse_target(const char *text, struct out_rule *r)
{
	static const struct {
		const char *word;
		enum out_to to;
		bool path;
	} words[] = {
		{ "file:", OUT_TO_FILE, true },   { "null", OUT_TO_NULL, false },
		{ "close", OUT_TO_CLOSE, false }, { "unix:", OUT_TO_UNIX, true },
		{ "attach", OUT_TO_TTY, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].word);

		if (strncmp(text, words[i].word, n) || (!words[i].path && text[n]))
			continue;
		r->to = words[i].to;
		if (r->to == OUT_TO_FILE && text[n] != '/')
			return -EINVAL;
		return words[i].path ? take_path(text + n, strlen(text + n), r->path) : 0;
	}
	return -EINVAL;
}

static int add(struct out_rules *r, const struct out_rule *one, struct err *e)
{
	if (r->n == OUT_RULES_MAX)
		return err_set(e, ERR_USER, E2BIG, "more than %d rules", OUT_RULES_MAX);
	r->v[r->n++] = *one;
	return 0;
}

int out_rule_add(struct out_rules *r, const char *text, struct err *e)
{
	struct out_rule one = { .fd = -1 };
	const char *eq = strchr(text, '=');

	if (!eq || parse_what(text, (size_t)(eq - text), &one) < 0 ||
	    parse_target(eq + 1, &one) < 0 || (one.to == OUT_TO_TTY && one.by != OUT_BY_TTY)) {
		err_set(e, ERR_USER, EINVAL, "--map=%s: not a rule", text);
		return err_fix(e,
		               "WHAT=TARGET; WHAT is fd:N, fd:PID/N, unix:PATH or tty, TARGET is "
		               "file:PATH, null, close, unix:PATH, and attach for tty");
	}
	return add(r, &one, e);
}

int out_rule_close(struct out_rules *r, const char *text, struct err *e)
{
	struct out_rule one = { .to = OUT_TO_CLOSE };

	if (parse_fd(text, strlen(text), &one) < 0)
		return err_set(e, ERR_USER, EINVAL, "--close-fd=%s: neither N nor PID/N", text);
	return add(r, &one, e);
}

const struct out_rule *out_rule_find(const struct out_rules *r, enum out_by by, pid_t pid, int fd,
                                     const char *name)
{
	for (size_t k = r ? r->n : 0; k-- > 0;) {
		const struct out_rule *o = &r->v[k];

		if (o->by != by)
			continue;
		if (by == OUT_BY_FD && (o->fd != fd || (o->pid && o->pid != pid)))
			continue;
		if (by == OUT_BY_UNIX && (!name || strcmp(o->name, name)))
			continue;
		return o;
	}
	return NULL;
}

/* ---- decisions ---- */

static bool has_place(const struct out *o)
{
	return o->to != OUT_TO_NULL && o->to != OUT_TO_CLOSE;
}

/* Files with one name become one descriptor there, as do all descriptors of one terminal. */
static bool shares(const struct out *a, const struct out *b)
{
	return a->to == b->to && a->reads == b->reads && !strcmp(a->path, b->path) &&
	       a->rdev == b->rdev &&
	       (a->to == OUT_TO_FILE || a->to == OUT_TO_TTY || a->to == OUT_TO_LAND);
}

int outs_add(struct outs *l, const struct out *o)
{
	static const enum refit_to becomes[] = {
		[OUT_TO_FILE] = REFIT_PLACE,    [OUT_TO_NULL] = REFIT_NULL,
		[OUT_TO_CLOSE] = REFIT_CLOSE,   [OUT_TO_UNIX] = REFIT_PLACE,
		[OUT_TO_JOURNAL] = REFIT_PLACE, [OUT_TO_TTY] = REFIT_TTY_KEPT,
		[OUT_TO_LAND] = REFIT_PLACE,
	};
	struct out one = *o;
	bool found = !has_place(o);

	one.refit.to = becomes[o->to];
	one.refit.polls = o->to == OUT_TO_UNIX || o->to == OUT_TO_JOURNAL || o->to == OUT_TO_TTY ||
	                  o->to == OUT_TO_LAND;
	for (size_t k = 0; !found && k < l->n; k++)
		if (shares(&l->v[k], &one)) {
			one.refit.place = l->v[k].refit.place;
			found = true;
		}
	if (!found && l->n_places == CRIU_INHERIT_MAX)
		return -E2BIG;
	if (!found)
		one.refit.place = (unsigned int)l->n_places++;
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	l->v[l->n++] = one;
	return 0;
}

void outs_text(const struct out *o, char *text, size_t bytes)
{
	static const char *const words[] = {
		[OUT_TO_FILE] = "will append to ",
		[OUT_TO_NULL] = "will be /dev/null",
		[OUT_TO_CLOSE] = "will be closed",
		[OUT_TO_UNIX] = "will be reconnected to ",
		[OUT_TO_JOURNAL] = "will be reconnected to ",
		[OUT_TO_TTY] = "will be a terminal for haul attach",
		[OUT_TO_LAND] = "will be haul land's ",
	};

	snprintf(text, bytes, "%s%s",
	         o->to == OUT_TO_FILE && o->reads ? "will read " : words[o->to],
	         has_place(o) ? o->path : "");
}

ssize_t outs_external(const struct outs *l, char ***v)
{
	size_t n = 0;

	*v = calloc(l->n + 1, sizeof(char *));
	for (size_t k = 0; *v && k < l->n; k++)
		if (l->v[k].external[0])
			(*v)[n++] = l->v[k].external;
	return *v ? (ssize_t)n : -ENOMEM;
}

int outs_refit(const struct outs *l, int dirfd, struct err *e)
{
	AUTO(mem) struct refit *v = calloc(l->n + 1, sizeof(*v));

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for descriptors");
	for (size_t k = 0; k < l->n; k++)
		v[k] = l->v[k].refit;
	return refit_images(dirfd, v, l->n, e);
}

/* ---- the offer ---- */

static void fill(Haul__Out *m, const struct out *o)
{
	static const Haul__OutKind kinds[] = {
		[OUT_TO_FILE] = HAUL__OUT_KIND__OUT_FILE,
		[OUT_TO_UNIX] = HAUL__OUT_KIND__OUT_UNIX,
		[OUT_TO_JOURNAL] = HAUL__OUT_KIND__OUT_JOURNAL,
		[OUT_TO_TTY] = HAUL__OUT_KIND__OUT_TTY,
		[OUT_TO_LAND] = HAUL__OUT_KIND__OUT_LAND,
	};

	m->kind = o->reads ? HAUL__OUT_KIND__OUT_READ : kinds[o->to];
	m->path = (char *)o->path;
	m->sock_type = (uint32_t)o->sock_type;
	m->pid = (uint32_t)o->owner; /* user and group: identity_offer() */
	m->header = (char *)o->header;
	m->rdev = o->rdev;
	m->dev = o->dev;
}

int outs_offer(const struct outs *l, Haul__Offer *offer, struct err *e)
{
	offer->out = calloc(l->n_places + 1, sizeof(*offer->out));
	Haul__Out *v = calloc(l->n_places + 1, sizeof(*v));

	if (!offer->out || !v) {
		free(v);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
	}
	offer->out[0] = v;
	for (size_t p = 0; p < l->n_places; p++) {
		offer->out[p] = &v[p];
		haul__out__init(&v[p]);
		for (size_t k = 0; k < l->n; k++)
			if (has_place(&l->v[k]) && l->v[k].refit.place == p) {
				fill(&v[p], &l->v[k]);
				break;
			}
	}
	offer->n_out = l->n_places;
	return 0;
}

void outs_offer_fini(Haul__Offer *offer)
{
	if (offer->out)
		free(offer->out[0]);
	free(offer->out);
	offer->out = NULL;
	offer->n_out = 0;
}

void outs_fini(struct outs *l)
{
	free(l->v);
	*l = (struct outs){ 0 };
}
