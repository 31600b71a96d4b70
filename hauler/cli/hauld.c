// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cmd_agent.c - the commands that a hauld carries out: haul PID HOST, check, peers, ls, show,
 * watch ID, cancel. What they print is what haul prints when it does the work itself.
 */
#include "hauler/cli/http.h"
#include "hauler/cli/cmd.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/auto.h"
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

bool is_job_id(const char *word)
{
	return strlen(word) == 16 && strspn(word, "0123456789abcdef") == 16;
}

/* ---- what happens to one migration ---- */

struct follow {
	const struct opts *o;
	bool said_why; /* an error, or that it is lost */
	int exit;
};

static int exit_of(const json_t *ended)
{
	const char *status = json_string_value(json_object_get(ended, "status"));
	json_int_t code = json_integer_value(json_object_get(ended, "exit"));

	if (status && !strcmp(status, "interrupted"))
		return EXIT_ATTENTION; /* what became of it nobody has seen */
	return code < 0 ? EXIT_FAILED : (int)code;
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
		f->exit = exit_of(event);
		if (f->exit == EXIT_ATTENTION && !f->said_why)
			fputs("haul: the migration was killed in the middle: haul recover ends "
			      "what it began\n",
			      stderr);
		return false;
	}
	/* what haul said to standard error is there again as an event, mostly */
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
	if (agent_ask(a, "POST", path, NULL, NULL, &answer, &e) < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	json_decref(answer);
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
	while ((r = agent_follow(a, path, &at, heard, &f, &interrupted, &e)) == -ECANCELED) {
		if (!cancel)
			return EXIT_OK;
		interrupted = 0;
		cancel_job(a, id);
	}
	return r < 0 ? failed(&e, o) : f.exit;
}

/* ---- haul PID HOST ---- */

/* Only root itself may say these: they name files and programs of this host. */
static const char *own_option(const struct opts *o)
{
	return o->identity                      ? "--identity"
	       : o->known_hosts                 ? "--known-hosts"
	       : o->criu                        ? "--criu"
	       : strcmp(o->config, CONFIG_PATH) ? "--config"
	       : o->owned                       ? "--owner"
	       : o->hooked                      ? "--hook"
	                                        : NULL;
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

/* A policy file of the one who asks: hauld knows names only, so its options one by one. */
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

static json_t *request(struct opts *o, struct err *e)
{
	json_t *body = json_pack("{s:i,s:s}", "pid", o->pid, "destination", o->dest);
	json_t *options = json_object();

	if (o->policy && is_file(o->policy)) {
		struct policy p;

		pol_init(&p);
		if (pol_load(&p, o->policy, e) < 0) {
			json_decref(body);
			json_decref(options);
			return NULL;
		}
		put_file(body, options, &p, o->fs.from_policy);
	} else if (o->policy) {
		json_object_set_new(body, "policy", json_string(o->policy));
	}
	if (o->fs.from_policy && !(o->policy && is_file(o->policy)))
		json_object_set_new(body, "fs_from_policy", json_true());
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (o->row_text[i])
			json_object_set_new(options, pol_table[i].name,
			                    option_json(i, o->row_text[i]));
	if (json_object_size(options))
		json_object_set(body, "options", options);
	json_decref(options);
	for (unsigned int i = 0; i < o->n_more; i++)
		put_list(body, o->more[i].key, o->more[i].text);
	if (o->into_root)
		json_object_set_new(body, "into_root", json_string(o->into_root));
	if (o->fs.replace)
		json_object_set_new(body, "fs_replace", json_true());
	if (o->port != TR_PORT_DEFAULT)
		json_object_set_new(body, "port", json_integer(o->port));
	if (o->connect_limit_ms != CONNECT_LIMIT_MS)
		json_object_set_new(body, "connect_limit_ms", json_integer(o->connect_limit_ms));
	if (o->link_limit_s != LINK_LIMIT_S)
		json_object_set_new(body, "link_limit_s", json_integer(o->link_limit_s));
	if (o->priority)
		json_object_set_new(body, "priority", json_integer(o->priority));
	return body;
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
		rc = agent_ask(a, "POST", "/v1/migrations", key, json_incref(body), &answer, e);
	}
	json_decref(body);
	const char *got = json_string_value(json_object_get(answer, "id"));

	if (rc == 0 && (!got || !is_job_id(got)))
		rc = err_set(e, ERR_LINK, EPROTO, "hauld gave no id");
	if (rc == 0)
		snprintf(id, bytes, "%s", got);
	json_decref(answer);
	return rc;
}

/* Return: 0 with *@a; an exit status; -1: do it without one */
static int use_agent(struct agent **a, const struct opts *o)
{
	struct err e = ERR_INIT;
	int r = agent_open(a, o, &e);

	if (r == -ENOENT && !e.src)
		return -1;
	return r < 0 ? failed(&e, o) : 0;
}

int agent_haul(struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	const char *own = own_option(o);
	char id[40];

	if (own && (!o->agent || !strcmp(o->agent, "none")))
		return -1;
	if (own) {
		fprintf(stderr, "haul: %s is not for a hauld to do\n", own);
		return EXIT_USAGE;
	}
	int r = use_agent(&a, o);

	if (r)
		return r;
	json_t *body = request(o, &e);

	r = body ? post(a, body, id, sizeof(id), &e) : -1;
	r = r < 0 ? failed(&e, o) : follow(a, o, id, true);
	agent_close(a);
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

int agent_check(const struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	json_t *answer = NULL, *body;
	int r = own_option(o) || o->n_more ? -1 : use_agent(&a, o);

	if (r)
		return r;
	body = json_pack("{s:i,s:s*}", "pid", o->pid, "destination", o->dest);
	if (agent_ask(a, "POST", "/v1/check", NULL, body, &answer, &e) < 0) {
		agent_close(a);
		return failed(&e, o);
	}
	json_t *files = json_object_get(answer, "files");
	bool can = json_is_true(json_object_get(answer, "can_move"));

	say_all(files, o);
	if (json_array_size(files))
		say_event(json_pack("{s:s,s:i}", "event", "files", "same", (int)count_same(files)),
		          how_of(o));
	say_all(json_object_get(answer, "findings"), o);
	if (!o->json)
		printf("%s\n", !can      ? "cannot be hauled: see the blockers"
		               : o->dest ? "nothing stands in the way"
		                         : "nothing on this host stands in the way");
	json_decref(answer);
	agent_close(a);
	return can ? EXIT_OK : EXIT_BLOCKED;
}

int agent_peers(const struct opts *o)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	json_t *answer = NULL;
	char path[64];
	int r = o->known_hosts || o->identity ? -1 : use_agent(&a, o);

	if (r)
		return r;
	snprintf(path, sizeof(path), o->pid ? "/v1/peers?pid=%d" : "/v1/peers", o->pid);
	r = agent_ask(a, "GET", path, NULL, NULL, &answer, &e);
	if (r == 0)
		say_all(json_object_get(answer, "peers"), o);
	json_decref(answer);
	agent_close(a);
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
	char when[32], downtime[32] = "-";
	struct tm tm;

	if (o->json) {
		say_event(json_incref(m), how_of(o));
		return;
	}
	localtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	if (down > 0)
		snprintf(downtime, sizeof(downtime), "%.1f ms", down);
	printf("%s  %s  %-11s %-10s %7lld  %-15s %-20s %10s\n", word(m, "id"), when,
	       word(m, "status"), word(m, "state"),
	       (long long)json_integer_value(json_object_get(m, "pid")), word(m, "comm"),
	       word(m, "destination"), downtime);
}

static int list(struct agent *a, const struct opts *o, struct err *e)
{
	char path[128] = "/v1/migrations?limit=500";
	bool more = true, first = true;

	while (more) {
		json_t *answer = NULL, *m;
		size_t i;

		if (agent_ask(a, "GET", path, NULL, NULL, &answer, e) < 0)
			return -e->code;
		if (first && !o->json)
			printf("%-16s  %-19s  %-11s %-10s %7s  %-15s %-20s %10s\n", "MIGRATION",
			       "ASKED FOR", "STATUS", "STATE", "PID", "COMMAND", "DESTINATION",
			       "DOWNTIME");
		first = false;
		json_array_foreach(json_object_get(answer, "migrations"), i, m) line_of(m, o);
		const char *next = json_string_value(json_object_get(answer, "next"));

		more = next && is_job_id(next);
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
	int r = agent_ask(a, "GET", path, NULL, NULL, &answer, e);

	if (r == 0) {
		json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
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
	int r = agent_ask(a, "POST", path, NULL, NULL, &answer, e);

	json_decref(answer);
	return r;
}

int agent_command(const struct opts *o, const char *verb, const char *id)
{
	struct agent *a = NULL;
	struct err e = ERR_INIT;
	int r = use_agent(&a, o);

	if (r == -1) {
		fprintf(stderr,
		        "haul: haul %s asks a hauld, and there is none: start it, or name "
		        "another by --agent=https://HOST:PORT\n",
		        verb);
		return EXIT_FAILED;
	}
	if (r)
		return r;
	if (!strcmp(verb, "watch"))
		r = follow(a, o, id, false);
	else {
		r = !strcmp(verb, "ls")     ? list(a, o, &e)
		    : !strcmp(verb, "show") ? show(a, id, &e)
		                            : cancel(a, id, &e);
		r = r < 0 ? failed(&e, o) : EXIT_OK;
	}
	agent_close(a);
	return r;
}
