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
 * frost_new() - make an empty frozen cgroup, before anything is stopped
 * @home: the parent cgroup, below the mount: the one the processes are in, because a cgroup that
 * becomes empty is taken for ended (systemd stops its unit)
 * Return: 0; -ENOTSUP no cgroup2, or a threaded one
 */
int frost_new(struct frost **out, uint64_t id, const char *home, struct err *e);
/**
 * frost_warm() - make frost_add() quick, from now on until frost_cool(), frost_thaw() or
 * frost_free(); see warm.h. A thread keeps moving itself to the cgroup it is in.
 */
void frost_warm(struct frost *f);
/** frost_cool() - stop that; harmless when it is not warm */
void frost_cool(struct frost *f);
/** frost_add() - move a process into it: nothing but SIGKILL reaches it there */
int frost_add(struct frost *f, pid_t pid, struct err *e);
/** frost_again() - move a member back in that another program has moved out */
int frost_again(const struct frost *f, pid_t pid, struct err *e);
/**
 * frost_has() - is @pid still in it, and is it frozen? Another program may have moved it out or
 * thawed the cgroup
 */
bool frost_has(const struct frost *f, pid_t pid);
/** frost_enter() - move process @pid into the cgroup @dir. Return: 0; -errno */
int frost_enter(const char *dir, pid_t pid);
/** frost_cgroup_of() - the cgroup of a process, below the mount; the caller frees. NULL: none */
char *frost_cgroup_of(pid_t pid);
/**
 * frost_refuse() - is the process frozen by its cgroup (version 2) or one above?
 * Return: 0 no; -EBUSY with a remedy in @e
 */
int frost_refuse(pid_t pid, struct err *e);
/**
 * frost_mount() - the mount point of cgroup2 to which names in /proc/PID/cgroup are relative.
 * Return: 0; -ENOENT
 */
int frost_mount(char *out, size_t bytes);
/**
 * frost_thaw() - move every member back to its former cgroup. Return: 0, or the last error
 * (logged)
 */
int frost_thaw(struct frost *f);
/** frost_adopt() - take over the cgroup that a dead haul has left */
int frost_adopt(struct frost **out, uint64_t id, const char *home, struct err *e);
/** frost_know() - add a member of an adopted cgroup, with its former cgroup */
int frost_know(struct frost *f, pid_t pid, const char *origin);
/** frost_free() - members that were not thawed stay frozen */
void frost_free(struct frost *f);
DEFINE_AUTO(frost, frost_free)

#endif
