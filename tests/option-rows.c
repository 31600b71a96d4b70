// SPDX-License-Identifier: GPL-2.0-or-later
/* option-rows.c - print the table of options as JSON, for t-options.sh. */
#include <jansson.h>
#include <stdio.h>

#include "hauler/options/options.h"

int main(void)
{
	static const char *const kind[] = { "flag", "text", "number", "list" };
	static const char *const whose[] = { "front", "user", "operator", "admin", "self" };
	json_t *all = json_array();

	for (size_t i = 0; i < OPTION_N; i++) {
		const struct option_row *r = &options_table[i];
		char letter[2] = { r->letter, 0 };

		json_array_append_new(all, json_pack("{s:s,s:s,s:s*,s:s,s:s,s:I,s:I,s:s*,s:s*,s:s}",
		                                     "name", r->name, "letter", letter, "key",
		                                     r->key, "kind", kind[r->kind], "whose",
		                                     whose[r->whose], "min", (json_int_t)r->min,
		                                     "max", (json_int_t)r->max, "value", r->value,
		                                     "default", r->def, "help", r->help));
	}
	int r = json_dumpf(all, stdout, JSON_INDENT(1));

	json_decref(all);
	return r < 0;
}
