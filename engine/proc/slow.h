/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slow.h - a process tree that is given only a share of its time.
 *
 * Alone in a cgroup (version 2) that has the cpu controller, as a service or a container is: by cpu.max
 * there, a share of the CPUs that it used before. That also slows down who waits for a clock or a client
 * and would make up for lost time. Elsewhere it is moved into a child cgroup that is frozen and thawed in
 * turns, which needs no controller; undone by moving everybody up again. What the tree's cgroup accounts
 * and limits, and who watches it, stays as it is.
 *
 * A keeper, a process of its own, freezes and thaws; it undoes all of it when its maker ends,
 * however that ends. The child cgroup is made in both cases: its lock says who owns it, its name what
 * cpu.max was. Who finds one whose lock nobody holds (slow_sweep) undoes it, too.
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
 * slow_new() - get ready to slow down the tree of @root, which is still at full speed
 * @cpus: so many it uses at full speed, such as 0.4 or 3; 0: not known, then only the freezer will do
 * Return: 0; -ENOTSUP no cgroup2, or the tree is in several cgroups; -errno. On failure it is
 * where it was.
 */
int slow_new(struct slow **out, pid_t root, uint64_t id, double cpus, struct err *e);
/** slow_by() - "cpu.max" or "freezer" */
const char *slow_by(const struct slow *s);
/** slow_set() - take so many percent of its time, 1 to 95. Return: 0; -EPIPE: the keeper is gone */
int slow_set(struct slow *s, unsigned int percent, struct err *e);
/** slow_kept() - false: the keeper was killed or stopped; nobody thaws the tree but slow_free() */
bool slow_kept(const struct slow *s);
/** slow_free() - everybody at full speed, where he was. Takes NULL */
void slow_free(struct slow *s);
DEFINE_AUTO(slow, slow_free)

/** slow_home() - of a cgroup's path: without the child in which who is in it is slowed down */
void slow_home(char *cgroup);
/** slow_sweep() - undo what nobody owns any more. Return: how many there were */
unsigned int slow_sweep(void);

#endif
