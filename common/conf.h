/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf.h - the configuration file, and which CRIU to use. */
#ifndef HAUL_CONF_H
#define HAUL_CONF_H

#include <stddef.h>

#include "common/err.h"

#define CONF_VALUE_BYTES 4096 /* maximum length of a line */

/* Every key that the file may have. Those of hooks are in the order of enum hook_point. */
enum conf_key {
	CONF_CRIU,
	CONF_HOOK_PREPARE,
	CONF_HOOK_FROZEN,
	CONF_HOOK_ARRIVING,
	CONF_HOOK_RUNNING,
	CONF_HOOK_UNDONE,
	CONF_HOOK_LIMIT_MS,
	CONF_FS_ALLOW,
	CONF_FILES_ALLOW,
	CONF_UIDS_ALLOW,
	CONF_API_SOCKET,
	CONF_API_STATE,
	CONF_API_BIND,
	CONF_API_PORT,
	CONF_API_CERT,
	CONF_API_KEY,
	CONF_API_TOKENS,
	CONF_USER_POLICIES,
	CONF_MIGRATIONS_MAX,
	CONF_MIGRATIONS_KEPT,
	CONF_BANDWIDTH_MAX_MBIT,
	CONF_WEBHOOKS,
	CONF_WEBHOOK_SECRET,
	CONF_WEBHOOK_EVENTS,
	CONF_N
};

/** conf_name() - the key as it is written in the file */
const char *conf_name(enum conf_key key);

/**
 * conf_get() - value of `key = value` in @path; # starts a comment
 * Return: 1 found; 0 no such key, or no such file; -errno with file, line and reason
 */
int conf_get(const char *path, enum conf_key key, char *out, size_t bytes, struct err *e);

/**
 * conf_number() - the same for a whole number from @min to @max
 * Return: 1 and *@out; 0 no such key, or no such file: *@out is as it was; -errno with a reason
 */
int conf_number(const char *path, enum conf_key key, unsigned int min, unsigned int max,
                unsigned int *out, struct err *e);

/**
 * conf_criu() - the CRIU to use: @option, then `criu =` in @config, then the one
 * given to configure, then what contrib/find-criu chose, then PATH
 * Return: 0; -ENOENT with a remedy
 */
int conf_criu(char *out, size_t bytes, const char *option, const char *config, struct err *e);

#endif
