/* SPDX-License-Identifier: GPL-2.0-or-later */
/* parse.h - the options of the command line. */
#ifndef HAUL_PARSE_H
#define HAUL_PARSE_H

struct opts;

enum parse_end { PARSE_OK, PARSE_FAULT, PARSE_VERSION, PARSE_HELP };

/**
 * parse_options() - set defaults, then read the options of a command line
 * @o: values are borrowed from @argv
 * @first: out: index in @argv of the first word that is not an option
 * Return: PARSE_OK; PARSE_FAULT after a message; PARSE_VERSION or PARSE_HELP: what was asked for
 */
enum parse_end parse_options(struct opts *o, int argc, char **argv, int *first);

#endif
