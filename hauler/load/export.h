/* SPDX-License-Identifier: GPL-2.0-or-later */
/* export.h - a state as a directory of CRIU's images. */
#ifndef HAUL_HAULER_LOAD_EXPORT_H
#define HAUL_HAULER_LOAD_EXPORT_H

#include <stddef.h>

#include "common/err.h"

/**
 * load_export() - make the directory @path, and write all images and pages of a state into it
 * @state: its number; 0: the latest
 * @how:   out: the command that restores it
 */
int load_export(const char *archive, unsigned int state, const char *path, char *how, size_t bytes,
                struct err *e);

#endif
