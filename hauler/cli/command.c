// SPDX-License-Identifier: GPL-2.0-or-later
/* command.c - from the words of a command line to the row of a table of commands. */
#include "hauler/cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/host/systemctl.h"
#include "common/host/unitfile.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/within.h"
#include "hauler/cli/cli.h"
#include "hauler/report/report.h"

bool command_is_job_id(const char *word)
{
	return strlen(word) == 16 && strspn(word, "0123456789abcdef") == 16;
}

/* ---- what the words say ---- */

static int parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*end || v <= 0 || v > 4194304) {
		fprintf(stderr, "haul: \"%s\" is not a process ID\n", text);
		return -EINVAL;
	}
	*pid = (pid_t)v;
	return 0;
}

/* NAME.service: its main process. Before a destination waits for an offer: systemd takes its time. */
static int parse_unit(const char *text, struct opts *o)
{
	static char settings[UNITFILE_BYTES];
	char out[1024], pid[32];

	o->unit = text;
	if (systemctl_show(text, "--property=MainPID", out, sizeof(out)) < 0) {
		fprintf(stderr, "haul: systemd does not answer for %s\n", text);
		return -EINVAL;
	}
	if (unitfile_settings(text, settings) == 0)
		o->unit_settings = settings;
	systemctl_value(out, "MainPID", pid, sizeof(pid));
	if (atoi(pid) > 0)
		return parse_pid(pid, &o->pid);
	fprintf(stderr, "haul: %s does not run\n", text);
	return -EINVAL;
}

/* RUNTIME:NAME: the init of a container. */
static int parse_container(const char *text, struct opts *o)
{
	struct err e = ERR_INIT;

	if (container_find(text, &o->container, &e) < 0) {
		fprintf(stderr, "haul: %s\n", e.msg);
		return -EINVAL;
	}
	o->pid = o->container.pid;
	if (o->pid > 0)
		return 0;
	fprintf(stderr, "haul: container %s does not run\n", text);
	return -EINVAL;
}

static int parse_target(const char *text, struct opts *o)
{
	return systemctl_unit_ok(text) ? parse_unit(text, o)
	       : container_word(text)  ? parse_container(text, o)
	                               : parse_pid(text, &o->pid);
}

static int parse_host(const char *text, const char **host)
{
	*host = text;
	if (*text)
		return 0;
	fputs("haul: the name of the host is empty\n", stderr);
	return -EINVAL;
}

/* The words that @c takes, in turn: "PID [HOST]" */
static int take_words(const struct command *c, struct opts *o, int argc, char **argv)
{
	const char *form = c->takes;
	int r = 0;

	for (int i = 0; r == 0 && i < argc; i++) {
		form += strspn(form, " [");
		if (!strncmp(form, "PID", 3))
			r = parse_target(argv[i], o);
		else if (!strncmp(form, "HOST", 4))
			r = parse_host(argv[i], &o->dest);
		form += strcspn(form, " ");
	}
	return r;
}

/* ---- which options a command takes ---- */

static bool has_word(const char *words, const char *w)
{
	size_t n = strlen(w);

	for (const char *s = words; *s; s += strspn(s, " ")) {
		size_t len = strcspn(s, " ");

		if (len == n && !memcmp(s, w, n))
			return true;
		s += len;
	}
	return false;
}

static int only_takes(const struct command_table *t, const struct command *c, const struct opts *o)
{
	for (unsigned int i = 0; i < o->n_given; i++) {
		const char *name = o->given[i].name;
		bool policy_one = c->policy_options && !o->given[i].row;

		if (c->options ? has_word(c->options, name) || has_word("quiet verbose", name) ||
		                         policy_one
		               : !c->without || !has_word(c->without, name))
			continue;
		fprintf(stderr, "%s %s does not take --%s\n", t->name,
		        *c->word ? c->word : c->takes, name);
		return -EINVAL;
	}
	return 0;
}

/* ---- run ---- */

static bool is_word(const struct command_table *t, const char *word)
{
	for (size_t i = 0; i < t->n; i++)
		if (*t->row[i].word && !strcmp(t->row[i].word, word))
			return true;
	return false;
}

static bool has_form(const struct command_table *t, const struct command *c, int argc, char **argv)
{
	int words = argc - (*c->word != 0);

	if (argc == 0 || (*c->word ? strcmp(argv[0], c->word) != 0 : is_word(t, argv[0])))
		return false;
	return words >= c->min && words <= c->max &&
	       (strcmp(c->takes, "MIGRATION") || command_is_job_id(argv[1]));
}

static int need_root(void)
{
	if (geteuid() == 0)
		return 0;
	fputs("haul: moving a process needs root on both hosts, or a hauld here that does it\n",
	      stderr);
	return -EPERM;
}

/* A tree in a pid namespace, and a service of systemd's in a mount namespace of its own. */
static bool is_elsewhere(const struct opts *o)
{
	return o->unit ? within_spaces(o->pid) : within_can(o->pid);
}

/*
 * Such a tree is moved from within, by a child of ours, which sees it as it sees itself.
 * Return: the exit status; -1: this is the process that does the work
 */
static int go_within(const struct command *c, struct opts *o)
{
	struct err e = ERR_INIT;

	if (!c->root || strncmp(c->takes, "PID", 3) != 0 || !o->pid || !is_elsewhere(o))
		return -1;
	pid_t inner = pidspace_inner(o->pid);
	pid_t child = within_fork(o->pid, &e);

	if (child < 0) {
		report_error(&e, o->json);
		return EXIT_FAILED;
	}
	if (child > 0)
		return within_wait(child);
	if (inner != o->pid && !o->unit) {
		o->outer_pid = o->pid;
		o->pid = inner;
	}
	return -1;
}

static int run(const struct command *c, struct opts *o, int argc, char **argv)
{
	if (take_words(c, o, argc, argv) < 0)
		return EXIT_USAGE;
	if (c->before && c->before(o) < 0)
		return EXIT_USAGE;
	/* the runtime's commands are run by haul itself, as root */
	int r = c->hauld && !o->container.runtime[0] ? c->hauld(o) : -1;

	if (r >= 0)
		return r;
	if (c->root && need_root() < 0)
		return EXIT_FAILED;
	r = go_within(c, o);
	return r >= 0 ? r : c->run(o, argc, argv);
}

int command_run(const struct command_table *t, struct opts *o, int argc, char **argv)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct command *c = &t->row[i];
		int skip = *c->word != 0;

		if (!has_form(t, c, argc, argv))
			continue;
		return only_takes(t, c, o) < 0 ? EXIT_USAGE : run(c, o, argc - skip, argv + skip);
	}
	return -1;
}

bool command_usage(const struct command_table *t, const char *word)
{
	bool found = false;

	for (size_t i = 0; i < t->n; i++) {
		const struct command *c = &t->row[i];

		if (!*c->word || strcmp(c->word, word))
			continue;
		fprintf(stderr, "%s %s %s%s%s\n", found ? "      " : "usage:", t->name, c->word,
		        *c->takes ? " " : "", c->takes);
		found = true;
	}
	return found;
}

int command_main(const struct command_table *t, struct opts *o, int argc, char **argv)
{
	int status = command_run(t, o, argc, argv);

	if (status >= 0)
		return status;
	if (argc && command_usage(t, argv[0]))
		return EXIT_USAGE;
	for (size_t i = 0; i < t->n; i++)
		command_usage(t, t->row[i].word);
	return EXIT_USAGE;
}
