/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.h - a table of commands, and how a command line finds its row. */
#ifndef HAUL_COMMAND_H
#define HAUL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct opts;

struct command {
	const char *word; /* empty: the command has none */
	const char *takes; /* "PID [HOST]": PID is put into opts->pid, HOST into opts->dest */
	int min, max; /* number of words behind @word */
	bool root; /* needs root, unless a hauld does it */
	int (*before)(struct opts *o); /* or NULL; below 0 after a message: wrong usage */
	const char
	        *options; /* the only options that it takes, beside --quiet, --verbose; NULL: any */
	bool policy_options; /* and those of policies */
	const char *without; /* options that it does not take, where @options is NULL */
	int (*hauld)(struct opts *o); /* ask a hauld; returns -1: there is none. NULL: never asks */
	int (*run)(struct opts *o, int argc, char **argv); /* gets the words behind @word */
	const char *help;
};

struct command_table {
	const char *name; /* what precedes @word: "haul", "haul policy" */
	const struct command *row;
	size_t n;
};

/**
 * command_run() - find the row of a command line and run it
 * Return: its exit status; -1: no row has this form, and nothing was said
 */
int command_run(const struct command_table *t, struct opts *o, int argc, char **argv);

/** command_is_job_id() - 16 hexadecimal digits: hauld's ID of a migration, never a pid */
bool command_is_job_id(const char *word);

/**
 * command_usage() - say which words the command @word takes
 * Return: false: there is no such command, and nothing was printed
 */
bool command_usage(const struct command_table *t, const char *word);

/**
 * command_main() - run the row; if there is none, say what the command @argv[0], or each, takes
 * Return: an exit status
 */
int command_main(const struct command_table *t, struct opts *o, int argc, char **argv);

#endif
