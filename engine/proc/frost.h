/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frost.h - a frozen cgroup that keeps the stopped copy stopped. */
#ifndef HAUL_FROST_H
#define HAUL_FROST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct frost;

/**
 * frost_new() - an empty frozen cgroup; before anything stops
 * @home: the cgroup in which it is made, below the mount: that of the processes, for one that becomes empty is
 * taken for ended (systemd stops its unit)
 * Return: 0; -ENOTSUP no cgroup2, or a threaded one
 */
int frost_new(struct frost **out, uint64_t id, const char *home, struct err *e);
/**
 * frost_warm() - make frost_add() quick, from now on until frost_cool(), frost_thaw() or
 * frost_free(). The first task that is moved between cgroups waits for an RCU grace period, 10 ms and
 * more; who comes soon after it does not. So a thread moves itself to where it is.
 */
void frost_warm(struct frost *f);
/** frost_cool() - no more of it; also when it is not warm */
void frost_cool(struct frost *f);
/** frost_add() - move a process into it: nothing but SIGKILL reaches it there */
int frost_add(struct frost *f, pid_t pid, struct err *e);
/** frost_again() - a member that somebody has moved out */
int frost_again(const struct frost *f, pid_t pid, struct err *e);
/** frost_has() - is it there still, and frozen? Somebody may have moved it out, or thawed it */
bool frost_has(const struct frost *f, pid_t pid);
/** frost_cgroup_of() - its cgroup below the mount; the caller frees. NULL: none */
char *frost_cgroup_of(pid_t pid);
/**
 * frost_refuse() - is it frozen, by its cgroup (version 2) or one above?
 * Return: 0 no; -EBUSY with a remedy in @e
 */
int frost_refuse(pid_t pid, struct err *e);
/** frost_mount() - where cgroup2 is mounted as /proc/PID/cgroup names it. Return: 0; -ENOENT */
int frost_mount(char *out, size_t bytes);
/** frost_thaw() - everybody back where he was. Return: 0, or the last error (logged) */
int frost_thaw(struct frost *f);
/** frost_adopt() - one that a dead haul has left */
int frost_adopt(struct frost **out, uint64_t id, const char *home, struct err *e);
/** frost_know() - a member of an adopted one, and where it was before */
int frost_know(struct frost *f, pid_t pid, const char *origin);
/** frost_free() - members that were not thawed stay frozen */
void frost_free(struct frost *f);
DEFINE_AUTO(frost, frost_free)

#endif
