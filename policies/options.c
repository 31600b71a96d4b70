// SPDX-License-Identifier: GPL-2.0-or-later
/* options.c - the one table of options: command line, policy files, schema and help follow it. */
#include "policies/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/help.h"

static const char *const mode_names[] = {
	[POL_AUTO] = "auto",           [POL_STOP_COPY] = "stop-copy", [POL_PRE_COPY] = "pre-copy",
	[POL_POST_COPY] = "post-copy", [POL_HYBRID] = "hybrid",       NULL,
};

static const char *const tcp_names[] = {
	[POL_TCP_AUTO] = "auto",
	[POL_TCP_CLOSE] = "close",
	[POL_TCP_MOVE] = "move",
	[POL_TCP_REFUSE] = "refuse",
	NULL,
};

static const char *const tracker_names[] = {
	[POL_TRACKER_AUTO] = "auto",
	[POL_TRACKER_SCAN] = "scan",
	[POL_TRACKER_SOFT] = "soft-dirty",
	[POL_TRACKER_NONE] = "none",
	NULL,
};

static const char *const files_names[] = {
	[POL_FILES_REQUIRE] = "require",
	[POL_FILES_MISSING] = "ship-missing",
	[POL_FILES_DIFFERING] = "ship-differing",
	NULL,
};

static const char *const stray_names[] = {
	[POL_STRAY_KEEP] = "keep",
	[POL_STRAY_CLOSE] = "close",
	NULL,
};

static const char *const supervisor_names[] = {
	[POL_SUPERVISOR_HEED] = "heed",
	[POL_SUPERVISOR_IGNORE] = "ignore",
	NULL,
};

const struct pol_list_row pol_lists[POL_NLISTS] = {
	[POL_MOVE_ADDRESS] = { "move-address", "ADDR[/LEN][@IFACE]: an address that moves, too, "
	                                       "with its TCP connections" },
	[POL_MAP] = { "map", "WHAT=TARGET: what replaces a file that is connected to a process "
	                     "outside the tree" },
	[POL_FS] = { "fs", "DIR: a directory that --fs-from-policy moves, with everything in it" },
	[POL_EXCLUDE] = { "exclude",
	                  "PATTERN: names or paths that are left out of these directories" },
};

#define ROW(field) (offsetof(struct pol_options, field) / sizeof(unsigned int))

const struct pol_option pol_table[POL_NOPTIONS] = {
	[ROW(mode)] = { "mode", mode_names, "", 0, POL_NMODES - 1, POL_AUTO,
	                "how to move memory; auto copies in rounds, then picks what the measured "
	                "rates call for" },
	[ROW(downtime_limit_ms)] = { "downtime-limit-ms", NULL, "ms", 1, 3600000, 100,
	                             "downtime that is accepted without switching to post-copy" },
	[ROW(downtime_max_ms)] = { "downtime-max-ms", NULL, "ms", 0, 3600000, 0,
	                           "give up if the downtime would be longer; 0: no such limit" },
	[ROW(degraded_max_s)] = { "degraded-max-s", NULL, "s", 0, 86400, 0,
	                          "do not use post-copy if it would take longer; 0: no such "
	                          "limit" },
	[ROW(deadline_s)] = { "deadline-s", NULL, "s", 0, 604800, 0,
	                      "start no round that would end the migration later than this; 0: no "
	                      "deadline" },
	[ROW(max_rounds)] = { "max-rounds", NULL, "rounds", 1, 1000, 30,
	                      "maximum number of rounds" },
	[ROW(degraded_weight_percent)] = { "degraded-weight-percent", NULL, "%", 0, 100, 50,
	                                   "weight of a second in post-copy, as a percentage of a "
	                                   "second of downtime" },
	[ROW(total_weight_percent)] = { "total-weight-percent", NULL, "%", 0, 100, 20,
	                                "weight of a second of migration time, as a percentage of "
	                                "a second of downtime" },
	[ROW(freeze_limit_ms)] = { "freeze-limit-ms", NULL, "ms", 100, 600000, 10000,
	                           "undo the migration if the process is stopped for longer before "
	                           "the hand-over" },
	[ROW(streams)] = { "streams", NULL, "streams", 1, 16, 2,
	                   "number of connections that carry pages" },
	[ROW(bandwidth_limit_mbit)] = { "bandwidth-limit-mbit", NULL, "Mbit/s", 0, 1000000, 0,
	                                "bandwidth limit of all connections together, except for "
	                                "pages that the process waits for; 0: no limit" },
	[ROW(cpu_limit_percent)] = { "cpu-limit-percent", NULL, "%", 0, 1600, 0,
	                             "CPU time that haul may use while it copies, as a percentage "
	                             "of one CPU; 0: no limit" },
	[ROW(tcp)] = { "tcp", tcp_names, "", 0, POL_TCP_REFUSE, POL_TCP_AUTO,
	               "what becomes of established TCP connections; auto moves them with "
	               "--move-address and closes them without" },
	[ROW(tracker)] = { "tracker", tracker_names, "", 0, POL_NTRACKERS - 1, POL_TRACKER_AUTO,
	                   "how to find the pages that are written between rounds; auto takes the "
	                   "best one that the kernel has" },
	[ROW(files)] = { "files", files_names, "", 0, POL_FILES_DIFFERING, POL_FILES_MISSING,
	                 "what to do with files that the process uses and that are missing or "
	                 "different on HOST" },
	[ROW(stray)] = { "stray", stray_names, "", 0, POL_STRAY_CLOSE, POL_STRAY_KEEP,
	                 "what to do with descriptors above 2 that a launcher left open" },
	[ROW(supervisor)] = { "supervisor", supervisor_names, "", 0, POL_SUPERVISOR_IGNORE,
	                      POL_SUPERVISOR_HEED,
	                      "what to do if a program would start a second copy at the source" },
	[ROW(quiet_limit_ms)] = { "quiet-limit-ms", NULL, "ms", 0, 600000, 200,
	                          "how long to wait before the stop for connections that are not "
	                          "accepted yet, or closed with data left to send" },
	[ROW(throttle_max_percent)] = { "throttle-max-percent", NULL, "%", 0, 95, 0,
	                                "share of its CPU time that may be taken from the process "
	                                "if rounds alone do not help; 0: never" },
};

/* ---- values ---- */

static unsigned int *value(struct policy *p, size_t row)
{
	return (unsigned int *)&p->v + row;
}

unsigned int pol_get(const struct policy *p, size_t row)
{
	return ((const unsigned int *)&p->v)[row];
}

const char *pol_mode_name(enum pol_mode mode)
{
	return (unsigned int)mode < POL_NMODES ? mode_names[mode] : "unknown";
}

void pol_init(struct policy *p)
{
	memset(p, 0, sizeof(*p));
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		*value(p, i) = pol_table[i].def;
}

/* For an option that has no words: empty. */
static void all_words(const struct pol_option *o, char *out, size_t bytes)
{
	size_t at = 0;

	out[0] = 0;
	for (unsigned int i = 0; o->words && o->words[i] && at < bytes; i++)
		at += (size_t)snprintf(out + at, bytes - at, "%s%s", i ? ", " : "", o->words[i]);
}

static int set_word(struct policy *p, size_t row, const char *text, struct err *e)
{
	const struct pol_option *o = &pol_table[row];
	char words[256];

	for (unsigned int i = 0; o->words[i]; i++)
		if (!strcmp(text, o->words[i])) {
			*value(p, row) = i;
			return 0;
		}
	all_words(o, words, sizeof(words));
	return err_set(e, ERR_USER, EINVAL, "%s: \"%s\" is not one of %s", o->name, text, words);
}

static int set_number(struct policy *p, size_t row, long long v, struct err *e)
{
	const struct pol_option *o = &pol_table[row];

	if (v < o->min || v > o->max)
		return err_set(e, ERR_USER, ERANGE, "%s: %lld %s is out of range: %u to %u",
		               o->name, v, o->unit, o->min, o->max);
	*value(p, row) = (unsigned int)v;
	return 0;
}

int pol_set_text(struct policy *p, size_t row, const char *text, struct err *e)
{
	const struct pol_option *o = &pol_table[row];
	char *end;
	int r;

	if (o->words) {
		r = set_word(p, row, text, e);
	} else {
		errno = 0;
		long long v = strtoll(text, &end, 10);

		if (!*text || *end || v < o->min || v > o->max)
			return err_set(e, ERR_USER, EINVAL, "--%s=%s: not a number from %u to %u",
			               o->name, text, o->min, o->max);
		r = set_number(p, row, v, e);
	}
	if (r)
		return r;
	p->from[row] = POL_FROM_COMMAND;
	return 0;
}

int pol_set_json(struct policy *p, size_t row, const json_t *v, struct err *e)
{
	static const char *const types[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",    [JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",      [JSON_NULL] = "null",
	};
	const struct pol_option *o = &pol_table[row];

	if (o->words ? !json_is_string(v) : !json_is_integer(v))
		return err_set(e, ERR_USER, EINVAL, "%s: must be %s, is %s", o->name,
		               o->words ? "a string" : "a whole number", types[json_typeof(v)]);
	return o->words ? set_word(p, row, json_string_value(v), e)
	                : set_number(p, row, json_integer_value(v), e);
}

/* ---- options that contradict each other ---- */

struct contradiction {
	size_t row, other;
	bool (*is)(const struct pol_options *v);
	const char *why;
};

static bool limit_above_freeze(const struct pol_options *v)
{
	return v->downtime_limit_ms > v->freeze_limit_ms;
}

static bool limit_above_max(const struct pol_options *v)
{
	return v->downtime_max_ms && v->downtime_limit_ms > v->downtime_max_ms;
}

static bool max_above_freeze(const struct pol_options *v)
{
	return v->downtime_max_ms > v->freeze_limit_ms;
}

static bool max_without_measure(const struct pol_options *v)
{
	return v->downtime_max_ms && v->mode != POL_AUTO && v->mode != POL_PRE_COPY;
}

static bool degraded_without_choice(const struct pol_options *v)
{
	return v->degraded_max_s && v->mode != POL_AUTO && v->mode != POL_HYBRID;
}

static bool deadline_without_rounds(const struct pol_options *v)
{
	return v->deadline_s && (v->mode == POL_STOP_COPY || v->mode == POL_POST_COPY);
}

static bool throttle_without_rounds(const struct pol_options *v)
{
	return v->throttle_max_percent && (v->mode == POL_STOP_COPY || v->mode == POL_POST_COPY);
}

static bool rounds_without_tracker(const struct pol_options *v)
{
	return v->tracker == POL_TRACKER_NONE && (v->mode == POL_PRE_COPY || v->mode == POL_HYBRID);
}

static bool unseen(const struct pol_options *v, unsigned int value)
{
	return v->tracker == POL_TRACKER_NONE && value;
}

static bool deadline_without_tracker(const struct pol_options *v)
{
	return unseen(v, v->deadline_s);
}

static bool throttle_without_tracker(const struct pol_options *v)
{
	return unseen(v, v->throttle_max_percent);
}

static const struct contradiction contradictions[] = {
	{ ROW(downtime_limit_ms), ROW(freeze_limit_ms), limit_above_freeze,
	  "a downtime that is accepted would be undone" },
	{ ROW(downtime_limit_ms), ROW(downtime_max_ms), limit_above_max,
	  "a downtime that is accepted would make haul give up" },
	{ ROW(downtime_max_ms), ROW(freeze_limit_ms), max_above_freeze,
	  "a downtime that is allowed would be undone" },
	{ ROW(downtime_max_ms), ROW(mode), max_without_measure,
	  "only auto and pre-copy know the downtime before they stop the process" },
	{ ROW(degraded_max_s), ROW(mode), degraded_without_choice,
	  "only auto and hybrid measure before they switch to post-copy" },
	{ ROW(deadline_s), ROW(mode), deadline_without_rounds,
	  "this mode has no rounds that could end earlier" },
	{ ROW(throttle_max_percent), ROW(mode), throttle_without_rounds,
	  "this mode has no rounds that throttling could help" },
	{ ROW(tracker), ROW(mode), rounds_without_tracker,
	  "without a tracker there are no rounds" },
	{ ROW(deadline_s), ROW(tracker), deadline_without_tracker,
	  "without a tracker there are no rounds" },
	{ ROW(throttle_max_percent), ROW(tracker), throttle_without_tracker,
	  "without a tracker there are no rounds" },
};

static void where(const struct policy *p, size_t row, char *out, size_t bytes)
{
	if (p->from[row] == POL_FROM_COMMAND)
		snprintf(out, bytes, "command line");
	else if (p->from[row] == POL_FROM_DEFAULT)
		snprintf(out, bytes, "the default");
	else
		snprintf(out, bytes, "%s:%u", p->path, p->from[row]);
}

int pol_contradiction(const struct policy *p, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(contradictions); i++) {
		const struct contradiction *c = &contradictions[i];
		size_t row = c->row, other = c->other;
		char from[600], of[600], a[64], b[64];

		if (!c->is(&p->v))
			continue;
		if (p->from[row] == POL_FROM_DEFAULT) {
			row = c->other;
			other = c->row;
		}
		where(p, row, from, sizeof(from));
		where(p, other, of, sizeof(of));
		pol_value_text(p, row, a, sizeof(a));
		pol_value_text(p, other, b, sizeof(b));
		return err_set(e, ERR_USER, EINVAL, "%s: %s: %s contradicts %s %s (%s): %s", from,
		               pol_table[row].name, a, pol_table[other].name, b, of, c->why);
	}
	return 0;
}

/* ---- for people and tools ---- */

void pol_value_text(const struct policy *p, size_t row, char *out, size_t bytes)
{
	const struct pol_option *o = &pol_table[row];
	unsigned int v = pol_get(p, row);

	if (o->words)
		snprintf(out, bytes, "%s", o->words[v]);
	else
		snprintf(out, bytes, "%u %s", v, o->unit);
}

void pol_help(FILE *f, unsigned int column)
{
	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		const struct pol_option *o = &pol_table[i];
		char flag[64], words[256], text[640];

		snprintf(flag, sizeof(flag), "      --%s=%s", o->name, o->words ? "WORD" : "N");
		all_words(o, words, sizeof(words));
		if (o->words)
			snprintf(text, sizeof(text), "%s (%s; default %s)", o->meaning, words,
			         o->words[o->def]);
		else
			snprintf(text, sizeof(text), "%s (%u to %u%s%s; default %u)", o->meaning,
			         o->min, o->max, *o->unit ? " " : "", o->unit, o->def);
		help_item(f, column, flag, text);
	}
}

static json_t *schema_row(const struct pol_option *o)
{
	json_t *s = json_object();
	char text[256];

	snprintf(text, sizeof(text), "%s%s%s", o->meaning, *o->unit ? ", in " : "", o->unit);
	json_object_set_new(s, "description", json_string(text));
	if (o->words) {
		json_t *words = json_array();

		for (unsigned int i = 0; o->words[i]; i++)
			json_array_append_new(words, json_string(o->words[i]));
		json_object_set_new(s, "enum", words);
		json_object_set_new(s, "default", json_string(o->words[o->def]));
		return s;
	}
	json_object_set_new(s, "type", json_string("integer"));
	json_object_set_new(s, "minimum", json_integer(o->min));
	json_object_set_new(s, "maximum", json_integer(o->max));
	json_object_set_new(s, "default", json_integer(o->def));
	return s;
}

char *pol_schema(void)
{
	json_t *s = json_object(), *rows = json_object(), *meaning = json_object();

	json_object_set_new(meaning, "type", json_string("string"));
	json_object_set_new(meaning, "description",
	                    json_string("what the policy is for, one line"));
	json_object_set_new(rows, "meaning", meaning);
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		json_object_set_new(rows, pol_table[i].name, schema_row(&pol_table[i]));
	for (size_t i = 0; i < POL_NLISTS; i++)
		json_object_set_new(rows, pol_lists[i].name,
		                    json_pack("{s:s, s:s, s:{s:s}, s:i}", "description",
		                              pol_lists[i].meaning, "type", "array", "items",
		                              "type", "string", "maxItems", POL_LIST_MAX));
	json_object_set_new(s, "$schema",
	                    json_string("https://json-schema.org/draft/2020-12/schema"));
	json_object_set_new(s, "title", json_string("a policy of haul"));
	json_object_set_new(s, "type", json_string("object"));
	json_object_set_new(s, "properties", rows);
	json_object_set_new(s, "additionalProperties", json_false());
	char *text = json_dumps(s, JSON_INDENT(2));

	json_decref(s);
	return text;
}
