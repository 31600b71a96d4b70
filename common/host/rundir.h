/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rundir.h - directories for files that other programs must not be able to replace. */
#ifndef HAUL_RUNDIR_H
#define HAUL_RUNDIR_H

#include <sys/types.h>

#include "common/err.h"

/** rundir_parents() - make the directories on the way to @path that are missing. Return: 0; -errno */
int rundir_parents(const char *path, struct err *e);
/**
 * rundir_make() - make the directory @path with @mode, or accept one that exists and that only we
 * can write to. Return: 0; -errno
 */
int rundir_make(const char *path, mode_t mode, struct err *e);

#endif
