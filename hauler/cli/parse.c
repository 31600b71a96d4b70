// SPDX-License-Identifier: GPL-2.0-or-later
/* parse.c - getopt over the two tables of options, and where each value is kept. */
#include "hauler/cli/parse.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/local/stand.h"
#include "hauler/mig/mig.h"
#include "hauler/options/options.h"

#define ROW_FIRST 256 /* getopt's number of options_table[0]; the rows of pol_table follow */

/* Where a value goes: const char * for a text, unsigned int or int for a number, bool for a flag. */
#define AT(field) offsetof(struct opts, field)
static const size_t place[OPTION_N] = {
	[OPTION_PORT] = AT(port),
	[OPTION_POLICY] = AT(policy),
	[OPTION_CONNECT_LIMIT_MS] = AT(connect_limit_ms),
	[OPTION_LINK_LIMIT_S] = AT(link_limit_s),
	[OPTION_FS_REPLACE] = AT(fs.replace),
	[OPTION_FS_FROM_POLICY] = AT(fs.from_policy),
	[OPTION_INTO_ROOT] = AT(into_root),
	[OPTION_AS] = AT(as),
	[OPTION_PID] = AT(pids),
	[OPTION_GIVE_ON] = AT(launch.give_on),
	[OPTION_PARK_S] = AT(launch.park_s),
	[OPTION_AWAY_STATUS] = AT(launch.away_status),
	[OPTION_IDENTITY] = AT(identity),
	[OPTION_KNOWN_HOSTS] = AT(known_hosts),
	[OPTION_CRIU] = AT(criu),
	[OPTION_CONFIG] = AT(config),
	[OPTION_OWNER] = AT(user.owner),
	[OPTION_AGENT] = AT(hauld.agent),
	[OPTION_TOKEN_FILE] = AT(hauld.token_file),
	[OPTION_CA] = AT(hauld.ca),
	[OPTION_PRIORITY] = AT(hauld.priority),
	[OPTION_JSON] = AT(json),
	[OPTION_LIST_ONLY] = AT(resolve.list),
	[OPTION_TO] = AT(dest),
	[OPTION_KEEP_HERE] = AT(resolve.keep_here),
	[OPTION_DROP_HERE] = AT(resolve.drop_here),
	[OPTION_YES] = AT(yes),
	[OPTION_LEAVE_RUNNING] = AT(archive.runs),
	[OPTION_STOP] = AT(archive.stop),
	[OPTION_END] = AT(archive.end),
	[OPTION_KEEP] = AT(archive.keep),
	[OPTION_STATE] = AT(archive.state),
	[OPTION_LAZY] = AT(archive.lazy),
	[OPTION_COPY] = AT(archive.copy),
	[OPTION_RECORD] = AT(watch.record),
	[OPTION_SECONDS] = AT(watch.seconds),
	[OPTION_SAMPLE_MS] = AT(watch.sample_ms),
	[OPTION_TRACE] = AT(watch.trace),
	[OPTION_BANDWIDTH] = AT(watch.bandwidth_mbit),
	[OPTION_QUIET] = AT(quiet),
	[OPTION_VERBOSE] = AT(verbose),
};

/* ---- values that need more than a place ---- */

static int take_move_address(struct opts *o, const char *text, struct err *e)
{
	return net_opts_move(&o->net, text, e);
}

static int take_map(struct opts *o, const char *text, struct err *e)
{
	return out_rule_add(&o->net.rules, text, e);
}

static int take_close_fd(struct opts *o, const char *text, struct err *e)
{
	return out_rule_close(&o->net.rules, text, e);
}

static int take_hook(struct opts *o, const char *text, struct err *e)
{
	return hook_option(&o->net.hooks, text, e);
}

static int take_fs(struct opts *o, const char *text, struct err *e)
{
	return dirs_opts_add(&o->fs, text, e);
}

static int take_exclude(struct opts *o, const char *text, struct err *e)
{
	return dirs_opts_exclude(&o->fs, text, e);
}

/* It becomes the beginning of other paths, so it must be as the kernel would write it. */
static int take_into_root(struct opts *o, const char *text, struct err *e)
{
	size_t n = strlen(text);

	(void)o;
	if (text[0] == '/' && n < 1024 && (n == 1 || text[n - 1] != '/') && !strstr(text, "//") &&
	    !strstr(text, "/../") && !strstr(text, "/./") &&
	    (n < 3 || strcmp(text + n - 3, "/..")) && (n < 2 || strcmp(text + n - 2, "/.")))
		return 0;
	return err_set(e, ERR_USER, EINVAL, "--into-root=%s: not a full path without . and ..",
	               text);
}

static int take_as(struct opts *o, const char *text, struct err *e)
{
	(void)o;
	if (stand_key_ok(text))
		return 0;
	return err_set(e, ERR_USER, EINVAL,
	               "--as=%s: not 1 to %d letters, digits and characters of ._:@-", text,
	               STAND_KEY_BYTES - 1);
}

static int take_pid(struct opts *o, const char *text, struct err *e)
{
	(void)o;
	if (!strcmp(text, "keep") || !strcmp(text, "own-namespace") || !strcmp(text, "auto"))
		return 0;
	return err_set(e, ERR_USER, EINVAL, "--pid=%s: not keep, own-namespace or auto", text);
}

static int take_give_on(struct opts *o, const char *text, struct err *e)
{
	const char *name = strncmp(text, "SIG", 3) ? text : text + 3;

	for (int sig = 1; sig < NSIG; sig++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", sig);
		if (sig != SIGKILL && sig != SIGSTOP && sig != SIGCHLD &&
		    (!strcmp(text, number) ||
		     (sigabbrev_np(sig) && !strcmp(name, sigabbrev_np(sig))))) {
			o->launch.give_signal = sig;
			return 0;
		}
	}
	return err_set(e, ERR_USER, EINVAL, "--give-on=%s: not a signal that can be caught", text);
}

static int take_lazy(struct opts *o, const char *text, struct err *e)
{
	(void)o;
	return !strcmp(text, "yes") || !strcmp(text, "no")
	               ? 0
	               : err_set(e, ERR_USER, EINVAL, "--lazy=%s: not yes or no", text);
}

static int take_config(struct opts *o, const char *text, struct err *e)
{
	(void)o;
	return access(text, R_OK) < 0 ? err_sys(e, "--config=%s", text) : 0;
}

static int take_owner(struct opts *o, const char *text, struct err *e)
{
	(void)text;
	o->user.owned = true;
	if (account_load(&o->user.account, o->user.owner) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the groups of user %u",
		               o->user.owner);
	return 0;
}

static int (*const take[OPTION_N])(struct opts *o, const char *text, struct err *e) = {
	[OPTION_MOVE_ADDRESS] = take_move_address,
	[OPTION_MAP] = take_map,
	[OPTION_CLOSE_FD] = take_close_fd,
	[OPTION_HOOK] = take_hook,
	[OPTION_FS] = take_fs,
	[OPTION_EXCLUDE] = take_exclude,
	[OPTION_INTO_ROOT] = take_into_root,
	[OPTION_AS] = take_as,
	[OPTION_PID] = take_pid,
	[OPTION_GIVE_ON] = take_give_on,
	[OPTION_LAZY] = take_lazy,
	[OPTION_CONFIG] = take_config,
	[OPTION_OWNER] = take_owner,
};

/* ---- one option ---- */

static int store(struct opts *o, const struct option_row *row, const char *text, struct err *e)
{
	size_t at = place[row - options_table];
	char *to = (char *)o + at;
	long n = 0;

	if (row->kind == OPTION_NUMBER && options_number(row, text, &n) < 0)
		return err_set(e, ERR_USER, EINVAL, "--%s=%s: not a number from %ld to %ld",
		               row->name, text, row->min, row->max);
	if (at && row->kind == OPTION_NUMBER)
		memcpy(to, &(unsigned int){ (unsigned int)n }, sizeof(unsigned int));
	else if (at && row->kind == OPTION_FLAG)
		*(bool *)to = true;
	else if (at)
		memcpy(to, &text, sizeof(text));
	return take[row - options_table] ? take[row - options_table](o, text, e) : 0;
}

static int note(struct opts *o, const char *name, const struct option_row *row, const char *text,
                struct err *e)
{
	if (o->n_given == OPTS_GIVEN_MAX)
		return err_set(e, ERR_USER, E2BIG, "more than %d options", OPTS_GIVEN_MAX);
	o->given[o->n_given++] = (struct given){ name, row, text };
	return 0;
}

static int keep_row(struct opts *o, const struct option_row *row, const char *text, struct err *e)
{
	int r = note(o, row->name, row, text, e);

	return r ? r : store(o, row, text, e);
}

static int one(struct opts *o, size_t number, const char *text)
{
	struct err e = ERR_INIT;
	int r;

	if (number >= OPTION_N) {
		number -= OPTION_N;
		o->row_text[number] = text;
		r = note(o, pol_table[number].name, NULL, text, &e);
	} else {
		r = keep_row(o, &options_table[number], text, &e);
	}
	if (r < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	if (r < 0 && e.fix[0])
		fprintf(stderr, "      remedy: %s\n", e.fix);
	return r;
}

/* ---- the command line ---- */

struct getopt_in {
	struct option all[OPTION_N + POL_NOPTIONS + 1];
	char letters[2 * OPTION_N + 1];
};

static void fill(struct getopt_in *in)
{
	options_getopt(options_table, OPTION_N, ROW_FIRST, in->all, in->letters);
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		in->all[OPTION_N + i] = (struct option){ pol_table[i].name, required_argument, NULL,
			                                 ROW_FIRST + OPTION_N + (int)i };
}

static void defaults(struct opts *o)
{
	for (size_t i = 0; i < OPTION_N; i++)
		if (options_table[i].kind == OPTION_NUMBER && options_table[i].def)
			store(o, &options_table[i], options_table[i].def, &(struct err)ERR_INIT);
	o->config = options_table[OPTION_CONFIG].def;
	pol_init(&o->pol); /* recover must work even if a policy file is broken */
}

enum parse_end parse_options(struct opts *o, int argc, char **argv, int *first)
{
	struct getopt_in in = { 0 };
	int c;

	defaults(o);
	fill(&in);
	while ((c = getopt_long(argc, argv, in.letters, in.all, NULL)) != -1) {
		if (c == '?') {
			fputs("haul: haul --help lists the options\n", stderr);
			return PARSE_FAULT;
		}
		size_t number = options_index(options_table, ROW_FIRST, c);

		if (number == OPTION_VERSION)
			return PARSE_VERSION;
		if (number == OPTION_HELP)
			return PARSE_HELP;
		if (one(o, number, optarg) < 0)
			return PARSE_FAULT;
	}
	*first = optind;
	return PARSE_OK;
}
