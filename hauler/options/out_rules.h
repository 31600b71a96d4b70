/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * out_rules.h - files of the tree that are connected to processes outside it: the user's rules, and
 * what becomes of each file.
 */
#ifndef HAUL_HAULER_OUT_H
#define HAUL_HAULER_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "engine/images/refit.h"

#define OUT_RULES_MAX    32
#define OUT_PATH_BYTES   512
#define OUT_HEADER_BYTES 384

enum out_by { OUT_BY_FD, OUT_BY_UNIX, OUT_BY_TTY };

enum out_to {
	OUT_TO_FILE, /* appended to; the reading end of a pipe reads it */
	OUT_TO_NULL,
	OUT_TO_CLOSE,
	OUT_TO_UNIX, /* connected again */
	OUT_TO_JOURNAL, /* the same, and journald gets its name and priority */
	OUT_TO_TTY, /* a terminal that `haul attach` connects to */
	OUT_TO_LAND, /* a pipe of haul land; path: in, out or err */
};

/* --map=WHAT=TARGET */
struct out_rule {
	enum out_by by;
	pid_t pid; /* 0: any process of the tree */
	int fd;
	enum out_to to;
	char name[OUT_PATH_BYTES]; /* of a UNIX socket; an abstract one begins with @ */
	char path[OUT_PATH_BYTES];
};

struct out_rules {
	struct out_rule v[OUT_RULES_MAX];
	size_t n;
	bool close_stray;
};

/** out_rule_add() - parse fd:N, fd:PID/N, unix:PATH or tty = file:PATH, null, close, unix:PATH or attach */
int out_rule_add(struct out_rules *r, const char *text, struct err *e);
/** out_rule_close() - --close-fd=N or PID/N */
int out_rule_close(struct out_rules *r, const char *text, struct err *e);
/** out_rule_find() - the last rule given that fits; @name: of the socket, or NULL */
const struct out_rule *out_rule_find(const struct out_rules *r, enum out_by by, pid_t pid, int fd,
                                     const char *name);

/* ---- the decisions of the inspection ---- */

struct out {
	struct refit refit;
	enum out_to to;
	char path[OUT_PATH_BYTES];
	bool reads; /* OUT_TO_FILE */
	int sock_type; /* OUT_TO_LAND: O_NONBLOCK or 0 */
	uint64_t rdev, dev; /* of a terminal */
	pid_t owner; /* the process whose user the replacement is opened as */
	char header[OUT_HEADER_BYTES]; /* OUT_TO_JOURNAL: what journald is to read first */
	bool unread; /* OUT_TO_LAND: what is in the pipe travels */
	char external[64]; /* the name that CRIU's dump needs; empty: none */
};

struct outs {
	struct out *v;
	size_t n, cap;
	size_t n_places; /* of the destination's descriptors */
};

/** outs_add() - @o is copied, and gets its place. Return: 0; -ENOMEM; -E2BIG */
int outs_add(struct outs *l, const struct out *o);
/** outs_text() - "will append to /var/log/x" */
void outs_text(const struct out *o, char *text, size_t bytes);
/** outs_external() - for CRIU's dump; free *v, but not what it points to. Return: count; -ENOMEM */
ssize_t outs_external(const struct outs *l, char ***v);
/** outs_refit() - change the images in @dirfd */
int outs_refit(const struct outs *l, int dirfd, struct err *e);
struct Haul__Offer;
/** outs_offer() - fill in offer->out; freed by outs_offer_fini() */
int outs_offer(const struct outs *l, struct Haul__Offer *offer, struct err *e);
void outs_offer_fini(struct Haul__Offer *offer);
void outs_fini(struct outs *l);

#endif
