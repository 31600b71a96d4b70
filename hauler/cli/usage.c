// SPDX-License-Identifier: GPL-2.0-or-later
/* usage.c - haul --help, from the tables of commands and options. */
#include "hauler/cli/usage.h"

#include <string.h>

#include "common/help.h"
#include "hauler/options/options.h"
#include "policies/policies.h"

#define COMMAND_COLUMN 38
#define OPTION_COLUMN  30

static void command(FILE *f, const struct command_table *t, size_t i)
{
	const struct command *c = &t->row[i];
	char flag[96];

	snprintf(flag, sizeof(flag), "%s %s%s%s%s", i ? "      " : "Usage:", t->name,
	         *c->word ? " " : " [OPTION]...", *c->word ? c->word : "", "");
	if (*c->takes)
		snprintf(flag + strlen(flag), sizeof(flag) - strlen(flag), " %s", c->takes);
	help_item(f, COMMAND_COLUMN, flag, c->help);
}

void usage(FILE *f, const struct command_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		command(f, t, i);
	fputc('\n', f);
	for (size_t i = 0; i < OPTION_N; i++) {
		options_help(f, OPTION_COLUMN, &options_table[i]);
		if (i == OPTION_POLICY)
			pol_help(f, OPTION_COLUMN);
	}
	fputs("\n"
	      "Exit status: 0 moved; 1 not moved, it runs here; 2 usage; 3 blocked, nothing was\n"
	      "touched; 4 handed over, outcome unknown; 130 interrupted, it runs here.\n",
	      f);
}
