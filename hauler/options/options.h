/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - every option of haul that is not a policy's, one row each.
 *
 * From these rows follow getopt's array and the help (hauler/cli), the request to a hauld
 * (hauler/cli/hauld.c) and what a hauld takes and hands to its haul (agent/api/arguments.c).
 * tests/t-options.sh compares them with docs/haul.8 and docs/openapi.json. The options of
 * policies have a table of their own, in policies/options.c.
 */
#ifndef HAULER_OPTIONS_H
#define HAULER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct option;

#define OPTIONS_TEXT_BYTES 1024 /* the longest value that a hauld takes */
#define OPTIONS_LIST_MAX   32 /* the most values of one option that a hauld takes */

enum option_kind {
	OPTION_FLAG, /* has no value */
	OPTION_TEXT,
	OPTION_NUMBER, /* whole, from @min to @max */
	OPTION_LIST, /* a text; may be given more than once */
};

/* Who may use an option, and who carries it out. */
enum option_for {
	OPTION_FRONT, /* anyone; read by this command only, never sent to a hauld */
	OPTION_USER, /* anyone; a hauld takes it from users other than root, too */
	OPTION_OPERATOR, /* root; a hauld takes it from operators and admins */
	OPTION_ADMIN, /* root; a hauld takes it from admins only: it reaches what is root's */
	OPTION_SELF, /* root; names files of this host, so a hauld does not take it */
};

struct option_row {
	const char *name; /* --name */
	char letter; /* -l; 0: none */
	const char *key; /* in a request to a hauld; NULL for OPTION_FRONT and OPTION_SELF */
	enum option_kind kind;
	enum option_for whose;
	long min, max; /* OPTION_NUMBER */
	const char *unit; /* OPTION_NUMBER; empty: none */
	const char *value; /* what --help calls the value; NULL: a flag */
	const char *def; /* the default, as text; NULL: none */
	const char *help; /* what it is */
};

/* The rows, in the order of --help. */
enum option_id {
	OPTION_PORT,
	OPTION_POLICY,
	OPTION_CONNECT_LIMIT_MS,
	OPTION_LINK_LIMIT_S,
	OPTION_MOVE_ADDRESS,
	OPTION_MAP,
	OPTION_CLOSE_FD,
	OPTION_FS,
	OPTION_EXCLUDE,
	OPTION_FS_REPLACE,
	OPTION_FS_FROM_POLICY,
	OPTION_INTO_ROOT,
	OPTION_AS,
	OPTION_PID,
	OPTION_HOOK,
	OPTION_IDENTITY,
	OPTION_KNOWN_HOSTS,
	OPTION_CRIU,
	OPTION_CONFIG,
	OPTION_OWNER,
	OPTION_AGENT,
	OPTION_TOKEN_FILE,
	OPTION_CA,
	OPTION_PRIORITY,
	OPTION_JSON,
	OPTION_LIST_ONLY,
	OPTION_TO,
	OPTION_GIVE_ON,
	OPTION_PARK_S,
	OPTION_AWAY_STATUS,
	OPTION_KEEP_HERE,
	OPTION_DROP_HERE,
	OPTION_YES,
	OPTION_LEAVE_RUNNING,
	OPTION_STOP,
	OPTION_END,
	OPTION_KEEP,
	OPTION_STATE,
	OPTION_LAZY,
	OPTION_COPY,
	OPTION_RECORD,
	OPTION_SECONDS,
	OPTION_SAMPLE_MS,
	OPTION_TRACE,
	OPTION_BANDWIDTH,
	OPTION_QUIET,
	OPTION_VERBOSE,
	OPTION_VERSION,
	OPTION_HELP,
	OPTION_N
};

extern const struct option_row options_table[OPTION_N];

/** options_by_key() - the row that a request to a hauld calls @key. Return: NULL: there is none */
const struct option_row *options_by_key(const char *key);

/**
 * options_number() - parse the value of a number's row
 * Return: 0 with *@out; -EINVAL: not a number from @min to @max
 */
int options_number(const struct option_row *row, const char *text, long *out);

/**
 * options_getopt() - what getopt_long() needs for @n rows: row i is @first + i in @all, which has
 * room for them; its letters are appended to @letters, which has room for two more bytes a row
 */
void options_getopt(const struct option_row *rows, size_t n, int first, struct option *all,
                    char *letters);

/** options_index() - the row that getopt_long() means by @c, a number from @first on or a letter of a row */
size_t options_index(const struct option_row *rows, int first, int c);

/** options_help() - print one row: on the left what to write, from @column on what it is, its range and default */
void options_help(FILE *f, unsigned int column, const struct option_row *row);

#endif
