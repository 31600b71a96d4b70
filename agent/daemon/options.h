/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h - the command line of hauld. */
#ifndef HAUL_AGENT_DAEMON_OPTIONS_H
#define HAUL_AGENT_DAEMON_OPTIONS_H

#include "agent/mig/mig.h"
#include "hauler/options/options.h"

struct options {
	struct agent_conf conf; /* texts borrowed from argv */
	unsigned int verbose, fingerprint, check, version, help; /* how often each was given */
};

/* The rows, in the order of --help; the last has no name. */
extern const struct option_row options_rows[];

/** options_parse() - Return: -1: run; else the exit status, and the reason was printed */
int options_parse(struct options *v, int argc, char **argv);

#endif
