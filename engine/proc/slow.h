/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slow.h - throttle a process tree: give it only a share of its CPU time.
 *
 * If the tree is alone in a cgroup (version 2) with the cpu controller, as a service or a
 * container is, cpu.max limits it to a share of the CPUs that it used before. That also slows down
 * a program that waits for a clock or a client and would make up for lost time. Otherwise it is
 * moved into a child cgroup that is frozen and thawed in turns, which needs no controller; to undo
 * that, the processes are moved up again. Accounting, limits and watchers of the tree's cgroup are
 * not affected.
 *
 * A keeper, a process of its own, freezes and thaws; it undoes everything when haul ends, for
 * whatever reason. The child cgroup is made in both cases: the holder of its lock owns it, and its
 * name records the former cpu.max. slow_sweep() undoes a child cgroup whose lock is not held.
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
 * @cpus: number of CPUs it uses at full speed, such as 0.4 or 3; 0: not known, then only the
 * freezer is used
 * Return: 0; -ENOTSUP no cgroup2, or the tree is in several cgroups; -errno. On failure the tree
 * is in its former cgroup.
 */
int slow_new(struct slow **out, pid_t root, uint64_t id, double cpus, struct err *e);
/** slow_by() - "cpu.max" or "freezer" */
const char *slow_by(const struct slow *s);
/** slow_set() - take @percent of its time, 1 to 95. Return: 0; -EPIPE: the keeper is gone */
int slow_set(struct slow *s, unsigned int percent, struct err *e);
/** slow_kept() - false: the keeper was killed or stopped; only slow_free() will thaw the tree */
bool slow_kept(const struct slow *s);
/** slow_free() - end throttling; every process returns to its former cgroup. @s may be NULL */
void slow_free(struct slow *s);
DEFINE_AUTO(slow, slow_free)

/** slow_home() - strip the throttling child from a cgroup's path */
void slow_home(char *cgroup);
/** slow_sweep() - undo what nobody owns any more. Return: how many there were */
unsigned int slow_sweep(void);

#endif
