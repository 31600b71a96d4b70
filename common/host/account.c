// SPDX-License-Identifier: GPL-2.0-or-later
/* account.c - a user of this host, and the groups that the user's own login has. */
#include "common/host/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#define GROUPS_MAX 65536

/* A user without an account has the group of the same number, unless that is a group of the host. */
static int nameless(struct account *a)
{
	a->gid = malloc(sizeof(*a->gid));
	if (!a->gid)
		return -ENOMEM;
	*a->gid = a->uid;
	a->n = !getgrgid(a->uid);
	return 0;
}

int account_load(struct account *a, uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	*a = (struct account){ .uid = uid };
	if (!pw)
		return nameless(a);
	snprintf(a->name, sizeof(a->name), "%s", pw->pw_name);
	for (int room = 32; room <= GROUPS_MAX; room *= 2) {
		gid_t *more = realloc(a->gid, (size_t)room * sizeof(*more));

		if (!more)
			break;
		a->gid = more;
		a->n = room;
		if (getgrouplist(a->name, pw->pw_gid, a->gid, &a->n) >= 0)
			return 0;
	}
	account_fini(a);
	return -ENOMEM;
}

void account_fini(struct account *a)
{
	free(a->gid);
	a->gid = NULL;
	a->n = 0;
}

bool account_has(const struct account *a, gid_t gid)
{
	for (int i = 0; i < a->n; i++)
		if (a->gid[i] == gid)
			return true;
	return false;
}
