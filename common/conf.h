/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf.h - the configuration file, and which CRIU to use. */
#ifndef HAUL_CONF_H
#define HAUL_CONF_H

#include <stddef.h>

#include "common/err.h"

#define CONF_VALUE_BYTES 4096 /* maximum length of a line */

/**
 * conf_get() - value of `key = value` in @path; # starts a comment
 * Return: 1 found; 0 no such key, or no such file; -errno with file, line and reason
 */
int conf_get(const char *path, const char *key, char *out, size_t bytes, struct err *e);

/**
 * conf_criu() - the CRIU to use: @option, then `criu =` in @config, then the one
 * given to configure, then what contrib/find-criu chose, then PATH
 * Return: 0; -ENOENT with a remedy
 */
int conf_criu(char *out, size_t bytes, const char *option, const char *config, struct err *e);

#endif
