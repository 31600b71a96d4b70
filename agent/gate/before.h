/* SPDX-License-Identifier: GPL-2.0-or-later */
/* before.h - may CRIU make what the images say? docs/SECURITY.md. */
#ifndef HAUL_AGENT_BEFORE_H
#define HAUL_AGENT_BEFORE_H

#include <stdbool.h>

#include "agent/check/rights.h"
#include "common/err.h"

struct wrk;

/**
 * before_users() - may threads with the IDs and capabilities that the images say arrive? Before CRIU runs
 * Return: 0; -EPERM: refuse; -errno
 */
int before_users(struct wrk *w, struct err *e);

/**
 * before_sockets() - may the UNIX sockets of the tree take their paths? Before CRIU binds them
 * Return: 0; -EACCES: refuse; -errno
 */
int before_sockets(struct wrk *w, struct err *e);

struct stat;
/**
 * before_binder() - as whom is a UNIX socket bound to @path, whose file was @uid's? A user rather than root
 * @old: what has the path now; NULL: nothing. Only its owner may replace it
 * Return: an identity of @r, or root, if root bound it in a directory that the tree cannot change; NULL: nobody may
 */
const struct rights_id *before_binder(const struct rights *r, const char *path, uint32_t uid,
                                      const struct stat *old);

/**
 * before_ghosts() - may the tree make its files (w->regs) that have lost their names? Before CRIU makes them
 * Return: 0; -EACCES: refuse; -errno
 */
int before_ghosts(const struct wrk *w, struct err *e);

/**
 * before_mounts() - refuse images of a mount namespace: haul offers none, and what is looked at here, as the paths of
 * files, would be something else in it
 * Return: 0; -EBADMSG
 */
int before_mounts(const struct wrk *w, struct err *e);

/** before_may_make() - may a process @id make a file at @path, or did root at the source? */
bool before_may_make(const struct wrk *w, const struct rights_id *id, const char *path);
/** before_is_kernels() - a name that the kernel gives to shared memory which has no file */
bool before_is_kernels(const char *path);

#endif
