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

/* " (1 to 65535; default 4285)" */
static void range(const struct option_row *row, char *out, size_t bytes)
{
	const char *unit = row->unit && *row->unit ? row->unit : "";

	if (row->kind == OPTION_NUMBER)
		snprintf(out, bytes, " (%ld to %ld%s%s%s%s)", row->min, row->max, *unit ? " " : "",
		         unit, row->def ? "; default " : "", row->def ? row->def : "");
	else if (row->def)
		snprintf(out, bytes, " (default %s)", row->def);
	else
		*out = 0;
}

static void option(FILE *f, const struct option_row *row)
{
	char flag[64], text[512], letter[8] = "    ", values[96];

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	range(row, values, sizeof(values));
	snprintf(flag, sizeof(flag), "  %s--%s%s%s", letter, row->name, row->value ? "=" : "",
	         row->value ? row->value : "");
	snprintf(text, sizeof(text), "%s%s", row->help, values);
	help_item(f, OPTION_COLUMN, flag, text);
}

void usage(FILE *f, const struct command_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		command(f, t, i);
	fputc('\n', f);
	for (size_t i = 0; i < OPTION_N; i++) {
		option(f, &options_table[i]);
		if (i == OPTION_POLICY)
			pol_help(f, OPTION_COLUMN);
	}
	fputs("\n"
	      "Exit status: 0 moved; 1 not moved, it runs here; 2 usage; 3 blocked, nothing was\n"
	      "touched; 4 handed over, outcome unknown; 130 interrupted, it runs here.\n",
	      f);
}
