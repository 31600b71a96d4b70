// SPDX-License-Identifier: GPL-2.0-or-later
/* archives.c - haul archive show, verify, diff, prune, export. */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "archive/archive.pb-c.h"
#include "archive/verify.h"
#include "hauler/cli/cli.h"
#include "hauler/cli/command.h"
#include "hauler/load/export.h"
#include "hauler/report/say.h"

#define HOW_BYTES 4400

static int failed(const struct opts *o, const struct err *e)
{
	report_error(e, o->json);
	return EXIT_FAILED;
}

/* A state that is not there is a wrong word, as a wrong option is. */
static int absent(const struct opts *o, struct archive *a, const char *number)
{
	const Archive__Index *x = archive_index(a);
	struct err e = ERR_INIT;

	err_set(&e, ERR_USER, ENOENT, "%s has no state %s", archive_path(a), number);
	if (x->n_state)
		err_fix(&e, "it has %zu, from %u to %u: haul archive show %s lists them",
		        x->n_state, x->state[0]->number, x->state[x->n_state - 1]->number,
		        archive_path(a));
	report_error(&e, o->json);
	return EXIT_USAGE;
}

static int absent_number(const struct opts *o, struct archive *a)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", o->archive.state);
	return absent(o, a, text);
}

static void say(const struct opts *o, json_t *event)
{
	say_event(event, (struct say_how){ .json = o->json, .quiet = o->quiet });
}

static json_t *event(const char *name, const Archive__State *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string(name));
	json_object_set_new(o, "archive_state", json_integer(s->number));
	return o;
}

static void set_u(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* Not every text of a file is UTF-8. */
static void set_text(json_t *o, const char *key, const char *text)
{
	json_t *t = json_string(text);

	json_object_set_new(o, key, t ? t : json_string("?"));
}

/* ---- show ---- */

static uint64_t pages_of(const Archive__State *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_object; i++)
		n += s->object[i]->pages;
	return n;
}

static void show_state(const struct opts *o, const Archive__State *s)
{
	static const char *const marks[] = { "", "running", "stopped", "ended" };
	json_t *j = event("archive-state", s);
	time_t at = (time_t)(s->time_us / 1000000);
	struct tm tm = { 0 };
	char when[32] = "";

	if (gmtime_r(&at, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	set_text(j, "time", when);
	set_text(j, "comm", s->comm);
	set_text(j, "host", s->who->host);
	set_text(j, "left", marks[s->mark]);
	set_text(j, "program", s->program);
	set_u(j, "pid", s->who->pid);
	set_u(j, "tasks", s->tasks);
	set_u(j, "rss_bytes", s->rss_bytes);
	set_u(j, "pages", pages_of(s));
	set_u(j, "images", s->n_image);
	say(o, j);
}

static void show_use(const struct opts *o, const Archive__Use *u)
{
	json_t *j = json_object();

	json_object_set_new(j, "event", json_string("archive-use"));
	set_u(j, "archive_state", u->state);
	set_text(j, "host", u->who->host);
	set_u(j, "pid", u->who->pid);
	say(o, j);
}

static int show(struct opts *o, int argc, char **argv)
{
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;

	(void)argc;
	if (archive_open(&a, argv[0], ARCHIVE_READ, &e) < 0)
		return failed(o, &e);
	const Archive__Index *x = archive_index(a);

	for (size_t i = 0; i < x->n_state; i++)
		show_state(o, x->state[i]);
	for (size_t i = 0; i < x->n_use; i++)
		show_use(o, x->use[i]);
	return EXIT_OK;
}

/* ---- verify ---- */

static int verify(struct opts *o, int argc, char **argv)
{
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;
	int r = archive_open(&a, argv[0], ARCHIVE_READ, &e);

	(void)argc;
	if (r == 0 && o->archive.state && !archive_state(a, o->archive.state))
		return absent_number(o, a);
	for (size_t i = 0; r == 0 && i < archive_index(a)->n_state; i++) {
		const Archive__State *s = archive_index(a)->state[i];
		uint64_t pages;

		if (o->archive.state && s->number != o->archive.state)
			continue;
		r = archive_verify(a, s, &pages, &e);
		if (r < 0)
			break;
		json_t *j = event("archive-verified", s);

		set_u(j, "pages", pages);
		say(o, j);
	}
	return r < 0 ? failed(o, &e) : EXIT_OK;
}

/* ---- diff ---- */

/* Return: NULL: there is none */
static Archive__State *state_named(struct archive *a, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return *end || n > UINT32_MAX || n == 0 ? NULL : archive_state(a, (unsigned int)n);
}

static int diff(struct opts *o, int argc, char **argv)
{
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;
	struct archive_diff d;

	(void)argc;
	if (archive_open(&a, argv[0], ARCHIVE_READ, &e) < 0)
		return failed(o, &e);
	const Archive__State *x = state_named(a, argv[1]), *y = state_named(a, argv[2]);

	if (!x || !y)
		return absent(o, a, x ? argv[2] : argv[1]);
	if (archive_compare(a, x, y, &d, &e) < 0)
		return failed(o, &e);
	json_t *j = event("archive-diff", y);

	set_u(j, "same_pages", d.same);
	set_u(j, "changed_pages", d.changed);
	set_u(j, "new_pages", d.fresh);
	set_u(j, "gone_pages", d.gone);
	say(o, j);
	return EXIT_OK;
}

/* ---- prune ---- */

static void retire(Archive__Index *x, unsigned int keep)
{
	while (x->n_state > keep) {
		archive__state__free_unpacked(x->state[0], NULL);
		memmove(x->state, x->state + 1, (x->n_state - 1) * sizeof(Archive__State *));
		x->n_state--;
	}
}

static int prune(struct opts *o, int argc, char **argv)
{
	AUTO(archive) struct archive *a = NULL;
	struct err e = ERR_INIT;
	uint64_t freed = 0;

	(void)argc;
	if (!o->archive.keep) {
		fputs("haul: haul archive prune needs --keep=N\n", stderr);
		return EXIT_USAGE;
	}
	if (archive_open(&a, argv[0], ARCHIVE_WRITE, &e) < 0)
		return failed(o, &e);
	retire(archive_index(a), o->archive.keep);
	if (archive_prune(a, &freed, &e) < 0)
		return failed(o, &e);
	json_t *j = json_object();

	json_object_set_new(j, "event", json_string("archive-pruned"));
	set_u(j, "states", archive_index(a)->n_state);
	set_u(j, "freed_bytes", freed);
	say(o, j);
	return EXIT_OK;
}

/* ---- export ---- */

static int export(struct opts *o, int argc, char **argv)
{
	struct err e = ERR_INIT;
	char how[HOW_BYTES];

	(void)argc;
	if (load_export(argv[0], o->archive.state, argv[1], how, sizeof(how), &e) < 0) {
		report_error(&e, o->json);
		return e.src == ERR_USER && e.code == ENOENT ? EXIT_USAGE : EXIT_FAILED;
	}
	json_t *j = json_object();

	json_object_set_new(j, "event", json_string("archive-exported"));
	set_text(j, "command", how);
	say(o, j);
	return EXIT_OK;
}

static const struct command rows[] = {
	{ .word = "show",
	  .takes = "FILE",
	  .min = 1,
	  .max = 1,
	  .options = "json ca",
	  .run = show,
	  .help = "list the states" },
	{ .word = "verify",
	  .takes = "FILE",
	  .min = 1,
	  .max = 1,
	  .options = "json state ca",
	  .run = verify,
	  .help = "read everything, compare all checksums" },
	{ .word = "diff",
	  .takes = "FILE N N",
	  .min = 3,
	  .max = 3,
	  .options = "json ca",
	  .run = diff,
	  .help = "count the pages that differ between two states" },
	{ .word = "prune",
	  .takes = "FILE",
	  .min = 1,
	  .max = 1,
	  .options = "json keep",
	  .run = prune,
	  .help = "keep the last states, give the room of others back" },
	{ .word = "export",
	  .takes = "FILE DIR",
	  .min = 2,
	  .max = 2,
	  .options = "json state ca",
	  .run = export,
	  .help = "write a state as images for criu restore" },
};

static const struct command_table commands = { "haul archive", rows, ARRAY_SIZE(rows) };

int cli_archive(struct opts *o, int argc, char **argv)
{
	archive_trust(o->hauld.ca);
	return command_main(&commands, o, argc, argv);
}
