/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slow.h - a process tree that is given only a share of its time, by a freezer cgroup that is
 * frozen and thawed in turns. A child cgroup of the one that the tree is in: what that accounts
 * and limits, and who watches it, stays as it is; undone by moving everybody up again. No
 * controller is needed, and all threads are slowed down alike.
 *
 * A keeper, a process of its own, freezes and thaws; it undoes all of it when its maker ends,
 * however that ends. Who finds a cgroup whose lock nobody holds (slow_sweep) undoes it, too.
 */
#ifndef HAUL_SLOW_H
#define HAUL_SLOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct slow;

/**
 * slow_new() - the tree of @root into a cgroup of its own, still at full speed
 * Return: 0; -ENOTSUP no cgroup2, or the tree is in several cgroups; -errno. On failure it is
 * where it was.
 */
int slow_new(struct slow **out, pid_t root, uint64_t id, struct err *e);
/** slow_set() - take so many percent of its time, 0 to 95. Return: 0; -EPIPE: the keeper is gone */
int slow_set(struct slow *s, unsigned int percent, struct err *e);
/** slow_kept() - false: the keeper was killed; nobody thaws the tree but slow_free() */
bool slow_kept(const struct slow *s);
/** slow_free() - everybody at full speed, where he was. Takes NULL */
void slow_free(struct slow *s);
DEFINE_AUTO(slow, slow_free)

/** slow_sweep() - undo what nobody owns any more. Return: how many there were */
unsigned int slow_sweep(void);

#endif
