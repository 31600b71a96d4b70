/* SPDX-License-Identifier: GPL-2.0-or-later */
/* owner.h - does a whole tree belong to one user, with no rights but the user's own? */
#ifndef HAUL_OWNER_H
#define HAUL_OWNER_H

#include <sys/types.h>

#include "common/host/account.h"
#include "common/err.h"

/**
 * owner_check() - has the tree no rights but those of @owner? Every user and group ID of each thread,
 * supplementary groups, capabilities, and whether @owner may look into it
 * @root: root process of the tree
 * Return: 0; -EPERM with a reason; -errno
 */
int owner_check(pid_t root, const struct account *owner, struct err *e);

#endif
