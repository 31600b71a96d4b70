/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hook.h - the operator's own programs, run at named points of a migration. */
#ifndef HAUL_HOOK_H
#define HAUL_HOOK_H

#include <stdbool.h>

#include "common/conf.h"
#include "common/err.h"

#define HOOK_PATH_BYTES 512

/* Where hooks run; docs/haul.8 says which side passes which. */
enum hook_point {
	HOOK_PREPARE, /* source: before memory is copied */
	HOOK_FROZEN, /* source: the tree is stopped, and its addresses were removed here */
	HOOK_ARRIVING, /* destination: the addresses are here, the tree is not yet */
	HOOK_RUNNING, /* both: the tree runs at the destination */
	HOOK_UNDONE, /* both: the migration was undone; the tree runs at the source */
	HOOK_N
};

struct hooks {
	char path[HOOK_N][HOOK_PATH_BYTES]; /* empty: none */
	unsigned int limit_ms;
};

/** hook_name() - as --hook has it */
const char *hook_name(enum hook_point p);
/** hook_key() - its key in the configuration file */
enum conf_key hook_key(enum hook_point p);
/** hook_load() - from keys hook-NAME and hook-limit-ms of the configuration file */
int hook_load(struct hooks *h, const char *config, struct err *e);
/** hook_option() - "NAME=PATH" of a command line */
int hook_option(struct hooks *h, const char *text, struct err *e);

/**
 * hook_run() - run the program for @p, if there is one, with @json on its standard input
 * Return: 0, also when there is no program; -ETIMEDOUT it took too long and was killed;
 * -ECANCELED it exited with another status than 0, and the first line it wrote is in @e
 */
int hook_run(const struct hooks *h, enum hook_point p, const char *json, struct err *e);

#endif
