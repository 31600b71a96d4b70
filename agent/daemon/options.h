/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h - the command line of hauld. */
#ifndef HAUL_AGENT_DAEMON_OPTIONS_H
#define HAUL_AGENT_DAEMON_OPTIONS_H

#include <stdbool.h>

#include "agent/mig/mig.h"

struct options {
	struct agent_conf conf; /* texts borrowed from argv */
	int verbose;
	bool fingerprint, check;
};

/** options_parse() - Return: -1: run; else the exit status, and the reason was printed */
int options_parse(struct options *v, int argc, char **argv);

#endif
