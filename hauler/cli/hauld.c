// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hauld.c - the commands that a hauld carries out: haul PID HOST, check, peers, ls, show,
 * watch ID, cancel. What they print is what haul prints when it does the work itself.
 */
#include "hauler/cli/http.h"
#include "hauler/report/groups.h"
#include "hauler/cli/cli.h"
#include "hauler/cli/command.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/auto.h"
#include "hauler/options/options.h"
#include "hauler/report/say.h"

static volatile int interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static struct say_how how_of(const struct opts *o)
{
	return (struct say_how){ o->json, o->quiet, o->verbose };
}

static int failed(const struct err *e, const struct opts *o)
{
	report_error(e, o->json);
	return e->src == ERR_TARGET ? EXIT_BLOCKED : EXIT_FAILED;
}

/* ---- what happens to one migration ---- */

struct follow {
	const struct opts *o;
	bool said_why; /* an error, or that it is lost */
	bool ended;
	int exit;
};

static int exit_of(const json_t *ended)
{
	const char *status = json_string_value(json_object_get(ended, "status"));
	json_int_t code = json_integer_value(json_object_get(ended, "exit"));

	if (status && !strcmp(status, "interrupted"))
		return EXIT_ATTENTION; /* the outcome is not known */
	return code < 0 ? EXIT_FAILED : (int)code;
}

static void heard_end(struct follow *f, const json_t *ended)
{
	f->ended = true;
	f->exit = exit_of(ended);
	if (f->exit == EXIT_ATTENTION && !f->said_why)
		fputs("haul: the migration was killed in the middle: haul recover completes or "
		      "undoes it\n",
		      stderr);
}

static bool heard(void *arg, json_t *event)
{
	static const char *const own[] = { "queued", "started", "cancelling" };
	struct follow *f = arg;
	const char *name = json_string_value(json_object_get(event, "event"));
	const char *state = json_string_value(json_object_get(event, "state"));

	if (!name)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(name, own[i]))
			return true;
	if (!strcmp(name, "ended")) {
		heard_end(f, event);
		return false;
	}
	/* mostly the same as an event that was printed already */
	if (!strcmp(name, "stderr") && f->said_why)
		return true;
	f->said_why |= !strcmp(name, "error") || (state && !strcmp(state, "lost"));
	json_object_del(event, "job");
	json_object_del(event, "at_ms");
	say_event(json_incref(event), how_of(f->o));
	return true;
}

static void cancel_job(struct agent *a, const char *id)
{
	char path[96];
	struct err e = ERR_INIT;
	json_t *answer = NULL;

	snprintf(path, sizeof(path), "/v1/migrations/%s/cancel", id);
	if (cli_http_ask(a, "POST", path, NULL, NULL, &answer, &e) < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	json_decref(answer);
}

/* hauld had no room for its last event, but for its outcome: ask for that. */
static int ask_end(struct agent *a, const char *id, struct follow *f, struct err *e)
{
	char path[96];
	json_t *view = NULL;

	snprintf(path, sizeof(path), "/v1/migrations/%s", id);
	int r = cli_http_ask(a, "GET", path, NULL, NULL, &view, e);

	if (r == 0) {
		heard_end(f, view);
		if (!f->o->json)
			printf("%s: %s\n", id, json_string_value(json_object_get(view, "status")));
	}
	json_decref(view);
	return r;
}

/* @cancel: Ctrl-C cancels it; else it ends the watching */
static int follow(struct agent *a, const struct opts *o, const char *id, bool cancel)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct follow f = { .o = o, .exit = EXIT_FAILED };
	struct err e = ERR_INIT;
	char path[96];
	uint64_t at = 0;
	int r;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	snprintf(path, sizeof(path), "/v1/migrations/%s/events", id);
	while ((r = cli_http_follow(a, path, &at, heard, &f, &interrupted, &e)) == -ECANCELED) {
		if (!cancel)
			return EXIT_OK;
		interrupted = 0;
		cancel_job(a, id);
	}
	if (r == 0 && !f.ended)
		r = ask_end(a, id, &f, &e);
	return r < 0 ? failed(&e, o) : f.exit;
}

/* ---- haul PID HOST ---- */

/* The first option that was given and that this process has to carry out itself; NULL: none. */
static const struct option_row *self_option(const struct opts *o)
{
	for (unsigned int i = 0; i < o->n_given; i++) {
		const struct option_row *row = o->given[i].row;

		if (row && row->whose == OPTION_SELF &&
		    !(row->def && !strcmp(row->def, o->given[i].text)))
			return row;
	}
	return NULL;
}

static bool is_file(const char *policy)
{
	size_t n = strlen(policy);

	return strchr(policy, '/') || (n > 5 && !strcmp(policy + n - 5, ".json"));
}

static json_t *option_json(size_t row, const char *text)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	return !pol_table[row].words && *text && !*end ? json_integer(v) : json_string(text);
}

static void put_list(json_t *body, const char *key, const char *text)
{
	json_t *list = json_object_get(body, key);

	if (!list) {
		list = json_array();
		json_object_set_new(body, key, list);
	}
	json_array_append_new(list, json_string(text));
}

/*
 * A policy file of the caller: hauld knows policies by name only, so send its options one by one.
 */
static void put_file(json_t *body, json_t *options, const struct policy *p, bool fs)
{
	static const struct {
		enum pol_list list;
		const char *key;
		bool fs;
	} lists[] = { { POL_MOVE_ADDRESS, "move_address", false },
		      { POL_MAP, "map", false },
		      { POL_FS, "fs", true },
		      { POL_EXCLUDE, "exclude", true } };

	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (p->from[i] != POL_FROM_DEFAULT)
			json_object_set_new(options, pol_table[i].name,
			                    pol_table[i].words
			                            ? json_string(pol_table[i].words[pol_get(p, i)])
			                            : json_integer(pol_get(p, i)));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (size_t k = 0; (fs || !lists[i].fs) && k < p->list[lists[i].list].n; k++)
			put_list(body, lists[i].key, p->list[lists[i].list].v[k]);
}

/* One option of the command line, as its row of the table says. */
static void put_option(json_t *body, const struct option_row *row, const char *text)
{
	long n = 0;

	switch (row->kind) {
	case OPTION_FLAG:
		json_object_set_new(body, row->key, json_true());
		break;
	case OPTION_TEXT:
		json_object_set_new(body, row->key, json_string(text));
		break;
	case OPTION_NUMBER:
		options_number(row, text, &n);
		json_object_set_new(body, row->key, json_integer(n));
		break;
	case OPTION_LIST:
		put_list(body, row->key, text);
		break;
	}
}

static void put_given(json_t *body, json_t *options, const struct opts *o, bool file)
{
	for (unsigned int i = 0; i < o->n_given; i++) {
		const struct option_row *row = o->given[i].row;
		bool in_file = file && row &&
		               (row == &options_table[OPTION_POLICY] ||
		                row == &options_table[OPTION_FS_FROM_POLICY]);

		if (row && row->key && !in_file)
			put_option(body, row, o->given[i].text);
	}
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (o->row_text[i])
			json_object_set_new(options, pol_table[i].name,
			                    option_json(i, o->row_text[i]));
}

/* What a move and a check send: the same, so that a check sees what the move would do. */
static json_t *request(const struct opts *o, struct err *e)
{
	bool file = o->policy && is_file(o->policy);
	json_t *body, *options;
	struct policy p;

	pol_init(&p);
	if (file && pol_load(&p, o->policy, e) < 0)
		return NULL;
	body = json_pack("{s:i,s:s*}", "pid", o->pid, "destination", o->dest);
	options = json_object();
	if (file)
		put_file(body, options, &p, o->fs.from_policy);
	put_given(body, options, o, file);
	if (json_object_size(options))
		json_object_set(body, "options", options);
	json_decref(options);
	return body;
}

static int take_id(const json_t *answer, char *id, size_t bytes, struct err *e)
{
	const char *got = json_string_value(json_object_get(answer, "id"));

	if (!got || !command_is_job_id(got))
		return err_set(e, ERR_LINK, EPROTO, "hauld gave no id");
	snprintf(id, bytes, "%s", got);
	return 0;
}

/* The same key until it is answered: a hauld that is started again makes one migration of it. */
static int post(struct agent *a, json_t *body, char *id, size_t bytes, struct err *e)
{
	const struct timespec pause = { 0, 500000000L };
	uint64_t r[2];
	char key[40];
	json_t *answer = NULL;
	int rc = -ECONNREFUSED;

	if (getrandom(r, sizeof(r), 0) != sizeof(r)) {
		json_decref(body);
		return err_sys(e, "getrandom");
	}
	snprintf(key, sizeof(key), "%016llx%016llx", (unsigned long long)r[0],
	         (unsigned long long)r[1]);
	for (int i = 0; i < 20 && rc == -ECONNREFUSED; i++) {
		err_clear(e);
		if (i)
			nanosleep(&pause, NULL);
		rc = cli_http_ask(a, "POST", "/v1/migrations", key, json_incref(body), &answer, e);
	}
	json_decref(body);
	if (rc == 0)
		rc = take_id(answer, id, bytes, e);
	json_decref(answer);
	return rc;
}

/* Return: 0 with *@a; an exit status; -1: there is none */
static int use_agent(struct agent **a, const struct opts *o)
{
	struct err e = ERR_INIT;
	int r = cli_http_open(a, o, &e);

	if (r == -ENOENT && !e.src)
		return -1;
	return r < 0 ? failed(&e, o) : 0;
}

/* As use_agent(); -1 also when an option has to be carried out here. */
static int let_agent(struct agent **a, const struct opts *o)
{
	const struct option_row *self = self_option(o);

	if (o->unit || (self && (!o->hauld.agent || !strcmp(o->hauld.agent, "none"))))
		return -1;
	if (!self)
		return use_agent(a, o);
	fprintf(stderr, "haul: a hauld does not take --%s\n", self->name);
	return EXIT_USAGE;
}

int hauld_move(struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	char id[40];
	int r = let_agent(&a, o);

	if (r)
		return r;
	json_t *body = request(o, &e);

	r = body ? post(a, body, id, sizeof(id), &e) : -1;
	r = r < 0 ? failed(&e, o) : follow(a, o, id, true);
	cli_http_close(a);
	return r;
}

/* ---- check, peers ---- */

static void say_all(json_t *list, const struct opts *o)
{
	json_t *event;
	size_t i;

	json_array_foreach(list, i, event) say_event(json_incref(event), how_of(o));
}

static unsigned int count_same(json_t *files)
{
	json_t *f;
	size_t i;
	unsigned int n = 0;

	json_array_foreach(files, i, f)
	{
		const char *state = json_string_value(json_object_get(f, "state"));

		n += state && !strcmp(state, "same");
	}
	return n;
}

static void say_check(json_t *answer, const struct opts *o)
{
	json_t *files = json_object_get(answer, "files");

	say_all(files, o);
	if (json_array_size(files))
		say_event(json_pack("{s:s,s:i}", "event", "files", "same", (int)count_same(files)),
		          how_of(o));
	say_all(json_object_get(answer, "findings"), o);
	groups_print();
}

int hauld_check(struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	json_t *answer = NULL, *body;
	int r = let_agent(&a, o);

	if (r)
		return r;
	body = request(o, &e);
	r = body ? cli_http_ask(a, "POST", "/v1/check", NULL, body, &answer, &e) : -1;
	cli_http_close(a);
	if (r < 0)
		return failed(&e, o);
	int status = (int)json_integer_value(json_object_get(answer, "exit"));

	say_check(answer, o);
	if (!o->json && (status == EXIT_OK || status == EXIT_BLOCKED))
		printf("%s\n", status    ? "cannot be hauled: see the blockers"
		               : o->dest ? "nothing stands in the way"
		                         : "nothing on this host stands in the way");
	json_decref(answer);
	return status;
}

int hauld_peers(struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	json_t *answer = NULL;
	char path[96];
	int r = let_agent(&a, o);

	if (r)
		return r;
	size_t at = (size_t)snprintf(path, sizeof(path), "/v1/peers?pid=%d", o->pid);

	if (!o->pid)
		at = (size_t)snprintf(path, sizeof(path), "/v1/peers");
	for (unsigned int i = 0; i < o->n_given; i++)
		if (o->given[i].row == &options_table[OPTION_CONNECT_LIMIT_MS])
			snprintf(path + at, sizeof(path) - at, "%cconnect_limit_ms=%s",
			         o->pid ? '&' : '?', o->given[i].text);
	r = cli_http_ask(a, "GET", path, NULL, NULL, &answer, &e);
	if (r == 0)
		say_all(json_object_get(answer, "peers"), o);
	json_decref(answer);
	cli_http_close(a);
	return r < 0 ? failed(&e, o) : EXIT_OK;
}

/* ---- ls, show, watch ID, cancel ---- */

static const char *word(const json_t *m, const char *key)
{
	const char *s = json_string_value(json_object_get(m, key));

	return s ? s : "-";
}

static void line_of(json_t *m, const struct opts *o)
{
	json_int_t created = json_integer_value(json_object_get(m, "created_ms")) / 1000;
	json_t *result = json_object_get(m, "result");
	double down = json_number_value(json_object_get(result, "downtime_us")) / 1e3;
	time_t t = (time_t)created;
	json_int_t there = json_integer_value(json_object_get(result, "host_pid"));
	char when[32], downtime[32] = "-", number[24] = "";
	struct tm tm;

	if (o->json) {
		say_event(json_incref(m), how_of(o));
		return;
	}
	localtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	if (down > 0)
		snprintf(downtime, sizeof(downtime), "%.1f ms", down);
	if (there)
		snprintf(number, sizeof(number), "  %lld", (long long)there);
	printf("%s  %s  %-11s %-10s %7lld  %-15s %-20s %10s%s\n", word(m, "id"), when,
	       word(m, "status"), word(m, "state"),
	       (long long)json_integer_value(json_object_get(m, "pid")), word(m, "comm"),
	       word(m, "destination"), downtime, number);
}

static int list(struct agent *a, const struct opts *o, struct err *e)
{
	char path[128] = "/v1/migrations?limit=500";
	bool more = true, first = true;

	while (more) {
		json_t *answer = NULL, *m;
		size_t i;

		if (cli_http_ask(a, "GET", path, NULL, NULL, &answer, e) < 0)
			return -e->code;
		if (first && !o->json)
			printf("%-16s  %-19s  %-11s %-10s %7s  %-15s %-20s %10s  PID THERE\n",
			       "MIGRATION", "ASKED FOR", "STATUS", "STATE", "PID", "COMMAND",
			       "DESTINATION", "DOWNTIME");
		first = false;
		json_array_foreach(json_object_get(answer, "migrations"), i, m) line_of(m, o);
		const char *next = json_string_value(json_object_get(answer, "next"));

		more = next && command_is_job_id(next);
		if (more)
			snprintf(path, sizeof(path), "/v1/migrations?limit=500&cursor=%s", next);
		json_decref(answer);
	}
	return 0;
}

static int show(struct agent *a, const char *id, struct err *e)
{
	char path[96];
	json_t *answer = NULL;

	snprintf(path, sizeof(path), "/v1/migrations/%s", id);
	int r = cli_http_ask(a, "GET", path, NULL, NULL, &answer, e);

	if (r == 0) {
		json_dumpf(answer, stdout,
		           JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
		putchar('\n');
	}
	json_decref(answer);
	return r;
}

static int cancel(struct agent *a, const char *id, struct err *e)
{
	char path[96];
	json_t *answer = NULL;

	snprintf(path, sizeof(path), "/v1/migrations/%s/cancel", id);
	int r = cli_http_ask(a, "POST", path, NULL, NULL, &answer, e);

	json_decref(answer);
	return r;
}

/* Return: 0 with *@a; else an exit status, after a message */
static int need_agent(struct agent **a, const struct opts *o)
{
	int r = use_agent(a, o);

	if (r != -1)
		return r;
	fputs("haul: this command asks a hauld, and none runs here: start it, or name another by "
	      "--agent=https://HOST:PORT\n",
	      stderr);
	return EXIT_FAILED;
}

static int ended(struct agent *a, const struct opts *o, int r, const struct err *e)
{
	cli_http_close(a);
	return r < 0 ? failed(e, o) : EXIT_OK;
}

int hauld_ls(struct opts *o, int argc, char **argv)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	int r = need_agent(&a, o);

	(void)argc;
	(void)argv;
	return r ? r : ended(a, o, list(a, o, &e), &e);
}

int hauld_show(struct opts *o, int argc, char **argv)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	int r = need_agent(&a, o);

	(void)argc;
	return r ? r : ended(a, o, show(a, argv[0], &e), &e);
}

int hauld_cancel(struct opts *o, int argc, char **argv)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	int r = need_agent(&a, o);

	(void)argc;
	return r ? r : ended(a, o, cancel(a, argv[0], &e), &e);
}

int hauld_watch(struct opts *o, int argc, char **argv)
{
	struct agent *a = NULL;
	int r = need_agent(&a, o);

	(void)argc;
	if (r)
		return r;
	r = follow(a, o, argv[0], false);
	cli_http_close(a);
	return r;
}
