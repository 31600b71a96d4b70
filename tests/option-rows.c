// SPDX-License-Identifier: GPL-2.0-or-later
/* option-rows.c - print the tables of options, keys and main events as JSON, for t-options.sh. */
#include <jansson.h>
#include <stdio.h>

#include "agent/api/webhook.h"
#include "agent/daemon/options.h"
#include "common/conf.h"
#include "hauler/options/options.h"

static json_t *row(const struct option_row *r)
{
	static const char *const kind[] = { "flag", "text", "number", "list" };
	static const char *const whose[] = { "front", "user", "operator", "admin", "self" };
	char letter[2] = { r->letter, 0 };

	return json_pack("{s:s,s:s,s:s*,s:s,s:s,s:I,s:I,s:s*,s:s*,s:s}", "name", r->name, "letter",
	                 letter, "key", r->key, "kind", kind[r->kind], "whose", whose[r->whose],
	                 "min", (json_int_t)r->min, "max", (json_int_t)r->max, "value", r->value,
	                 "default", r->def, "help", r->help);
}

int main(void)
{
	json_t *haul = json_array(), *hauld = json_array(), *keys = json_array(),
	       *events = json_array();

	for (size_t i = 0; i < OPTION_N; i++)
		json_array_append_new(haul, row(&options_table[i]));
	for (size_t i = 0; options_rows[i].name; i++)
		json_array_append_new(hauld, row(&options_rows[i]));
	for (int i = 0; i < CONF_N; i++)
		json_array_append_new(keys, json_string(conf_name((enum conf_key)i)));
	for (size_t i = 0; webhook_main_events[i]; i++)
		json_array_append_new(events, json_string(webhook_main_events[i]));
	json_t *all = json_pack("{s:o,s:o,s:o,s:o}", "haul", haul, "hauld", hauld, "keys", keys,
	                        "main_events", events);
	int r = json_dumpf(all, stdout, JSON_INDENT(1));

	json_decref(all);
	return r < 0;
}
