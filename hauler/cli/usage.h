/* SPDX-License-Identifier: GPL-2.0-or-later */
/* usage.h - the text of haul --help. */
#ifndef HAUL_USAGE_H
#define HAUL_USAGE_H

#include <stdio.h>

#include "hauler/cli/command.h"

/** usage() - print the commands of @t and all options */
void usage(FILE *f, const struct command_table *t);

#endif
