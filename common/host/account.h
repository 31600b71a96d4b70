/* SPDX-License-Identifier: GPL-2.0-or-later */
/* account.h - a user of this host, and the groups that the user's own login has. */
#ifndef HAUL_ACCOUNT_H
#define HAUL_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

struct account {
	uid_t uid;
	char name[256]; /* "": no account here has this number */
	gid_t *gid;
	int n;
};

/**
 * account_load() - from the host's databases, which may be slow: not while a process is stopped
 * A user without an account has the group of the same number, unless that is a group of the host.
 * Return: 0 and account_fini() frees it; -ENOMEM
 */
int account_load(struct account *a, uid_t uid);
void account_fini(struct account *a);
/** account_has() - is the user a member of the group @gid? */
bool account_has(const struct account *a, gid_t gid);

#endif
