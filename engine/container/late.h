/* SPDX-License-Identifier: GPL-2.0-or-later */
/* late.h - files of a container that have changed since its runtime was asked: its root, volumes, /dev/shm, log. */
#ifndef HAUL_LATE_H
#define HAUL_LATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/container/container.h"

#define LATE_ROOT "root" /* the container's root file system, wherever it is on a host */

struct late;

/* A part of the changes; @into: LATE_ROOT or a path; @at: of a file that grows, -1: of a tar archive. Return: 0; -errno */
typedef int (*late_fn)(void *arg, const char *into, int64_t at, const uint8_t *data, size_t bytes,
                       bool last, struct err *e);

/**
 * late_new() - before the runtime is asked: note how everything is
 * @root: its root file system here; NULL: it does not move
 * @dir:  a folder for our notes
 */
int late_new(struct late **out, const struct container *c, const char *root, const char *dir,
             struct err *e);
/** late_take() - it is stopped: what has changed since. Return: 0; -errno */
int late_take(struct late *l, late_fn fn, void *arg, struct err *e);
/** late_free() - forget the notes */
void late_free(struct late *l);
DEFINE_AUTO(late, late_free)

/**
 * late_put() - a part at the destination, in order
 * @root: the container's root file system here; @dir: a folder for what has come so far
 */
int late_put(const struct container *c, const char *root, const char *dir, const char *into,
             int64_t at, const uint8_t *data, size_t bytes, bool last, struct err *e);

#endif
