/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uids.h - whose processes a key may send here, and what rights beside the user's own they may have. */
#ifndef HAUL_AGENT_UIDS_H
#define HAUL_AGENT_UIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/finding.h"

/* The rule for one migration. */
struct uids {
	bool limited; /* haul.conf has uids-allow */
	char allow[CONF_VALUE_BYTES];
	char key[160]; /* of the source, as chan_peer() has it */
	bool owned; /* the move was started for a user, who is @owner */
	uint32_t owner;
};

/* What one thread may act as. */
struct uids_thread {
	const uint32_t *uid, *gid, *group;
	size_t n_uid, n_gid, n_group;
	uint64_t caps; /* in any of its sets but the bounding set */
};

struct Haul__Offer;

/**
 * uids_load() - uids-allow of @config for a source with @key. Return: 0; -errno
 * @key: NULL: root of this host loads an archive: only what a user started is limited
 */
int uids_load(struct uids *u, const char *config, const char *key, const struct Haul__Offer *o,
              struct err *e);

/**
 * uids_check() - may the processes of the offer arrive? Has the user who started the move the same
 * name and number on both hosts? Blockers: user-denied, user-differs
 * Return: 0; -ENOMEM
 */
int uids_check(const struct uids *u, const struct Haul__Offer *o, struct findings *out);

/**
 * uids_below_root() - is the key limited to users, and root none of them? Then the rights of its processes are all
 * that counts: what the peer says of root at the source is not believed
 */
bool uids_below_root(const struct uids *u);

/** uids_judge() - may a thread with these IDs arrive? Return: 0; -EPERM with the reason; -ENOMEM */
int uids_judge(const struct uids *u, const struct uids_thread *t, struct err *e);

/** uids_fault() - the first word of the list @allow that makes no sense; NULL: none. @word: at least 64 bytes */
const char *uids_fault(const char *allow, char *word, size_t bytes);

#endif
