// SPDX-License-Identifier: GPL-2.0-or-later
/* main.c - the haul command: words of the command line to one function each. */
#include "hauler/dirs/dirs.h"
#include "hauler/files/needs.h"
#include "hauler/mig/mig.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hauler/cli/cmd.h"

#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"
#include "common/nofile.h"
#include "config.h"
#include "transport/haul.pb-c.h"

static struct mig the_mig;

/* ---- Ctrl-C ---- */

static void *signal_main(void *arg)
{
	sigset_t *set = arg;

	for (;;) {
		int sig = 0;

		if (sigwait(set, &sig))
			continue;
		if (!run_stop(recovering() ? recovering() : &the_mig))
			fputs("\nhaul: past the point of no return: the process belongs to the "
			      "destination; waiting for the rest. When the link is lost, Ctrl-C "
			      "stops the waiting\n",
			      stderr);
	}
	return NULL;
}

void catch_signals(void)
{
	static sigset_t set;
	pthread_t t;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&t, NULL, signal_main, &set) == 0)
		pthread_detach(t);
}

/* ---- options ---- */

enum {
	OPT_IDENTITY = 256,
	OPT_KNOWN_HOSTS,
	OPT_CRIU,
	OPT_CONFIG,
	OPT_POLICY,
	OPT_CONNECT,
	OPT_LINK,
	OPT_JSON,
	OPT_LIST,
	OPT_KEEP,
	OPT_DROP,
	OPT_TO,
	OPT_RECORD,
	OPT_TRACE,
	OPT_BANDWIDTH,
	OPT_SECONDS,
	OPT_SAMPLE,
	OPT_MOVE_ADDRESS,
	OPT_HOOK,
	OPT_INTO_ROOT,
	OPT_MAP,
	OPT_CLOSE_FD,
	OPT_FS,
	OPT_FS_EXCLUDE,
	OPT_FS_REPLACE,
	OPT_AGENT,
	OPT_TOKEN_FILE,
	OPT_CA,
	OPT_PRIORITY,
	OPT_OWNER,
	OPT_FS_POLICY,
	OPT_ROW, /* and on: the rows of pol_table */
};

static const struct option long_options[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "identity", required_argument, NULL, 'i' },
	{ "known-hosts", required_argument, NULL, OPT_KNOWN_HOSTS },
	{ "criu", required_argument, NULL, OPT_CRIU },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "record", required_argument, NULL, OPT_RECORD },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "sample-ms", required_argument, NULL, OPT_SAMPLE },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "bandwidth", required_argument, NULL, OPT_BANDWIDTH },
	{ "connect-limit-ms", required_argument, NULL, OPT_CONNECT },
	{ "link-limit-s", required_argument, NULL, OPT_LINK },
	{ "move-address", required_argument, NULL, OPT_MOVE_ADDRESS },
	{ "hook", required_argument, NULL, OPT_HOOK },
	{ "into-root", required_argument, NULL, OPT_INTO_ROOT },
	{ "map", required_argument, NULL, OPT_MAP },
	{ "close-fd", required_argument, NULL, OPT_CLOSE_FD },
	{ "fs", required_argument, NULL, OPT_FS },
	{ "exclude", required_argument, NULL, OPT_FS_EXCLUDE },
	{ "fs-replace", no_argument, NULL, OPT_FS_REPLACE },
	{ "agent", required_argument, NULL, OPT_AGENT },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "ca", required_argument, NULL, OPT_CA },
	{ "priority", required_argument, NULL, OPT_PRIORITY },
	{ "owner", required_argument, NULL, OPT_OWNER },
	{ "fs-from-policy", no_argument, NULL, OPT_FS_POLICY },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "keep-here", no_argument, NULL, OPT_KEEP },
	{ "drop-here", no_argument, NULL, OPT_DROP },
	{ "to", required_argument, NULL, OPT_TO },
	{ "yes", no_argument, NULL, 'y' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static int number(const char *name, const char *text, unsigned int min, unsigned int max,
                  unsigned int *out)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (!*text || *end || *text == '-' || v < min || v > max) {
		fprintf(stderr, "haul: --%s=%s: not a number from %u to %u\n", name, text, min,
		        max);
		return -EINVAL;
	}
	*out = (unsigned int)v;
	return 0;
}

static int option_number(struct opts *o, int c, const char *text)
{
	switch (c) {
	case 'p':
		return number("port", text, 1, 65535, &o->port);
	case OPT_SECONDS:
		return number("seconds", text, 1, 86400, &o->seconds);
	case OPT_SAMPLE:
		return number("sample-ms", text, 10, 10000, &o->sample_ms);
	case OPT_BANDWIDTH:
		return number("bandwidth", text, 1, 1000000, &o->bandwidth_mbit);
	case OPT_LINK:
		return number("link-limit-s", text, 0, 31536000, &o->link_limit_s);
	default:
		return number("connect-limit-ms", text, 100, 600000, &o->connect_limit_ms);
	}
}

static int option_priority(struct opts *o, const char *text)
{
	unsigned int n;
	bool minus = *text == '-';
	int r = number("priority", text + minus, 0, 1000, &n);

	o->priority = minus ? -(int)n : (int)n;
	return r;
}

/* As it was given: for a hauld that does it. */
static void keep_text(struct opts *o, int c, const char *text)
{
	static const struct {
		int c;
		const char *key;
	} keys[] = { { OPT_MOVE_ADDRESS, "move_address" },
		     { OPT_MAP, "map" },
		     { OPT_CLOSE_FD, "close_fd" },
		     { OPT_FS, "fs" },
		     { OPT_FS_EXCLUDE, "exclude" } };

	o->hooked |= c == OPT_HOOK;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].c == c && o->n_more < OPTS_MORE_MAX)
			o->more[o->n_more++] = (struct more){ keys[i].key, text };
}

static void keep_name(struct opts *o, const struct option *l, int c)
{
	while (l->name && l->val != c)
		l++;
	if (l->name && o->n_given < OPTS_GIVEN_MAX)
		o->given[o->n_given++] = l->name;
}

static int option_net(struct net_opts *o, int c, const char *text)
{
	struct err e = ERR_INIT;
	int r = c == OPT_MOVE_ADDRESS ? net_opts_move(o, text, &e)
	        : c == OPT_MAP        ? out_rule_add(&o->rules, text, &e)
	        : c == OPT_CLOSE_FD   ? out_rule_close(&o->rules, text, &e)
	                              : hook_option(&o->hooks, text, &e);

	if (r < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	if (r < 0 && e.fix[0])
		fprintf(stderr, "      remedy: %s\n", e.fix);
	return r;
}

/* Absolute, and as the kernel would write it: it becomes the beginning of other paths. */
static int option_root(struct opts *o, const char *text)
{
	size_t n = strlen(text);
	bool plain = text[0] == '/' && n < 1024 && (n == 1 || text[n - 1] != '/') &&
	             !strstr(text, "//") && !strstr(text, "/../") && !strstr(text, "/./") &&
	             (n < 3 || strcmp(text + n - 3, "/..")) &&
	             (n < 2 || strcmp(text + n - 2, "/."));

	o->into_root = text;
	if (plain)
		return 0;
	fprintf(stderr, "haul: --into-root=%s: not a full path without . and ..\n", text);
	return -EINVAL;
}

static int option_fs(struct dirs_opts *o, int c, const char *text)
{
	struct err e = ERR_INIT;
	int r = 0;

	if (c == OPT_FS_REPLACE)
		o->replace = true;
	else if (c == OPT_FS_POLICY)
		o->from_policy = true;
	else
		r = c == OPT_FS ? dirs_opts_add(o, text, &e) : dirs_opts_exclude(o, text, &e);
	if (r < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	return r;
}

/* Return: 0; -EINVAL after a message; 1: done, exit well */
static int option(struct opts *o, int c)
{
	if (c >= OPT_ROW) {
		o->row_text[c - OPT_ROW] = optarg;
		return 0;
	}
	keep_text(o, c, optarg);
	switch (c) {
	case 'i':
		o->identity = optarg;
		return 0;
	case OPT_KNOWN_HOSTS:
		o->known_hosts = optarg;
		return 0;
	case OPT_CRIU:
		o->criu = optarg;
		return 0;
	case OPT_CONFIG:
		o->config = optarg;
		if (access(optarg, R_OK) == 0)
			return 0;
		fprintf(stderr, "haul: --config=%s: %s\n", optarg, strerror(errno));
		return -EINVAL;
	case OPT_LIST:
		o->list = true;
		return 0;
	case OPT_KEEP:
		o->keep_here = true;
		return 0;
	case OPT_DROP:
		o->drop_here = true;
		return 0;
	case OPT_TO:
		o->dest = optarg;
		return 0;
	case OPT_POLICY:
		o->policy = optarg;
		return 0;
	case OPT_RECORD:
		o->record = optarg;
		return 0;
	case OPT_TRACE:
		o->trace = optarg;
		return 0;
	case OPT_MOVE_ADDRESS:
	case OPT_HOOK:
	case OPT_MAP:
	case OPT_CLOSE_FD:
		return option_net(&o->net, c, optarg);
	case OPT_INTO_ROOT:
		return option_root(o, optarg);
	case OPT_FS:
	case OPT_FS_EXCLUDE:
	case OPT_FS_REPLACE:
	case OPT_FS_POLICY:
		return option_fs(&o->fs, c, optarg);
	case OPT_AGENT:
		o->agent = optarg;
		return 0;
	case OPT_TOKEN_FILE:
		o->token_file = optarg;
		return 0;
	case OPT_CA:
		o->ca = optarg;
		return 0;
	case OPT_OWNER:
		o->owned = true;
		return number("owner", optarg, 0, 4294967294, &o->owner);
	case OPT_PRIORITY:
		return option_priority(o, optarg);
	case OPT_JSON:
		o->json = true;
		return 0;
	case 'y':
		o->yes = true;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case 'V':
		puts(PACKAGE_STRING);
		return 1;
	case 'h':
		usage(stdout);
		return 1;
	case '?':
		fputs("haul: haul --help lists the options\n", stderr);
		return -EINVAL;
	default:
		return option_number(o, c, optarg);
	}
}

static int parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*end || v <= 0 || v > 4194304) {
		fprintf(stderr, "haul: \"%s\" is no process id\n", text);
		return -EINVAL;
	}
	*pid = (pid_t)v;
	return 0;
}

static int need_root(void)
{
	if (geteuid() == 0)
		return 0;
	fputs("haul: moving a process needs root on both hosts, or a hauld here that does it\n",
	      stderr);
	return -EPERM;
}

/* ---- commands ---- */

static int cmd_haul(const struct opts *o)
{
	catch_signals();
	int r = run_migration(&the_mig, o);

	if (r < 0)
		report_error(&the_mig.err, o->json);
	report_end(&the_mig);
	bool lost = the_mig.state == MIG_LOST, stopped = the_mig.halt.stop;
	bool blocked = the_mig.err.src == ERR_TARGET || the_mig.err.code == EPERM;

	run_fini(&the_mig);
	if (r == 0)
		return EXIT_OK;
	return lost      ? EXIT_ATTENTION
	       : stopped ? EXIT_INTERRUPTED
	       : blocked ? EXIT_BLOCKED
	                 : EXIT_FAILED;
}

static int check_remote(struct mig *m, struct findings *f, struct err *e)
{
	struct criu *c = NULL;
	int r = conf_criu(m->dump.criu_path, sizeof(m->dump.criu_path), m->opt->criu,
	                  m->opt->config, e);

	if (r == 0)
		r = criu_spawn(&c, m->dump.criu_path, -1, e);
	if (r == 0)
		r = criu_version(c, &m->dump.criu_version, deadline_in_ms(10000), e);
	criu_free(c);
	if (r == 0)
		r = dirs_look(m, e);
	if (r == 0)
		r = talk_connect(m, e);
	if (r == 0)
		r = mnet_findings(m, f, e);
	if (r == 0)
		r = negotiate_offer(m, true, f, e);
	if (r == 0)
		talk_say(m, HAUL__MSG__BODY_BYE, NULL, e);
	return r;
}

static int cmd_check(const struct opts *o)
{
	struct mig *m = &the_mig;
	struct findings f = { 0 };

	signal(SIGPIPE, SIG_IGN);
	m->opt = o;
	int r = o->owned ? inspect_owner(o->pid, o->owner, &m->err) : 0;

	if (r == 0)
		r = mnet_new(m, &m->err);

	if (r == 0)
		r = inspect_new_with(&m->insp, o->pid, mnet_judge(m->net), &o->fs, &m->err);
	if (r == 0)
		r = mnet_findings(m, &f, &m->err);
	if (r == 0) {
		report_findings(inspect_findings(m->insp), o->json);
		if (o->dest)
			r = check_remote(m, &f, &m->err);
		if (m->needs && r == 0)
			report_needs(m->needs, o->json, o->verbose);
		report_findings(&f, o->json);
	}
	if (r < 0)
		report_error(&m->err, o->json);
	bool no_target = m->err.src == ERR_TARGET;
	unsigned int blockers = r == 0 ? inspect_findings(m->insp)->blockers + f.blockers : 0;

	if (r == 0 && !o->json)
		printf("%s\n", blockers  ? "cannot be hauled: see the blockers"
		               : o->dest ? "nothing stands in the way"
		                         : "nothing on this host stands in the way");
	findings_fini(&f);
	run_fini(m);
	if (r < 0)
		return no_target ? EXIT_BLOCKED : EXIT_FAILED;
	return blockers ? EXIT_BLOCKED : EXIT_OK;
}

static bool ask(const char *host)
{
	char line[16] = "";

	printf("Store it as the key of %s? Compare it with `hauld --fingerprint` there. [y/N] ",
	       host);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static int cmd_trust(const struct opts *o)
{
	struct chan_target to = { .host = o->dest,
		                  .port = (uint16_t)o->port,
		                  .known_hosts = o->known_hosts,
		                  .connect_ms = o->connect_limit_ms };
	struct err e = ERR_INIT;
	char print[128];
	int known = 0, r = trust_fetch(&to, print, sizeof(print), &known, &e);

	if (r == 0) {
		static const char *const words[] = { "not known yet", "known",
			                             "KNOWN WITH "
			                             "ANOTHER KEY" };

		printf("%s port %u: %s (%s)\n", o->dest, o->port, print, words[known]);
		if (known == 1)
			return EXIT_OK;
		if (!o->yes && !ask(o->dest))
			return EXIT_FAILED;
		r = trust_store(&to, print, &e);
	}
	if (r < 0) {
		report_error(&e, o->json);
		return EXIT_FAILED;
	}
	puts("stored");
	return EXIT_OK;
}

/* @r: what a hauld made of it; -1: there is none, or it is not asked */
static int by_agent(int r, const struct opts *o, int (*self)(const struct opts *o))
{
	if (r >= 0)
		return r;
	return need_root() < 0 ? EXIT_FAILED : self(o);
}

/* That of another host is known there only. */
static int load_policy(struct opts *o)
{
	return o->agent && strchr(o->agent, ':') ? 0 : cmd_policy_load(o);
}

/* @word: NULL: none is needed */
static int take_host(struct opts *o, const char *word)
{
	o->dest = word;
	if (!word || *word)
		return 0;
	fputs("haul: the host has no name\n", stderr);
	return -EINVAL;
}

static int dispatch(struct opts *o, int argc, char **argv)
{
	if (argc >= 1 && !strcmp(argv[0], "trust") && argc == 2)
		return take_host(o, argv[1]) < 0 ? EXIT_USAGE : cmd_trust(o);
	if (argc >= 2 && argc <= 3 && !strcmp(argv[0], "check")) {
		return take_host(o, argc == 3 ? argv[2] : NULL) < 0 ||
		                       parse_pid(argv[1], &o->pid) < 0 || load_policy(o) < 0
		               ? EXIT_USAGE
		               : by_agent(agent_check(o), o, cmd_check);
	}
	if (argc >= 1 && !strcmp(argv[0], "recover"))
		return need_root() < 0 ? EXIT_FAILED : cmd_recover(o, argc - 1, argv + 1);
	if (argc >= 1 && !strcmp(argv[0], "resolve"))
		return need_root() < 0 ? EXIT_FAILED : cmd_resolve(o, argc - 1, argv + 1);
	if (argc >= 1 && !strcmp(argv[0], "policy"))
		return cmd_policy(o, argc - 1, argv + 1);
	if (argc == 2 && !strcmp(argv[0], "attach"))
		return parse_pid(argv[1], &o->pid) < 0 ? EXIT_USAGE : cmd_attach(o->pid);
	if (argc >= 1 && argc <= 2 && !strcmp(argv[0], "peers"))
		return argc == 2 && parse_pid(argv[1], &o->pid) < 0
		               ? EXIT_USAGE
		               : by_agent(agent_peers(o), o, cmd_peers);
	if ((argc == 1 && !strcmp(argv[0], "ls")) ||
	    (argc == 2 && is_job_id(argv[1]) &&
	     (!strcmp(argv[0], "show") || !strcmp(argv[0], "watch") || !strcmp(argv[0], "cancel"))))
		return agent_command(o, argv[0], argv[1]);
	if (argc == 2 && !strcmp(argv[0], "watch"))
		return parse_pid(argv[1], &o->pid) < 0 ? EXIT_USAGE : cmd_watch(o);
	if (argc == 2 && !is_command(argv[0])) {
		if (take_host(o, argv[1]) < 0 || parse_pid(argv[0], &o->pid) < 0 ||
		    load_policy(o) < 0)
			return EXIT_USAGE;
		return by_agent(agent_haul(o), o, cmd_haul);
	}
	return misused(argc, argv);
}

int main(int argc, char **argv)
{
	static struct opts o = {
		.port = TR_PORT_DEFAULT,
		.connect_limit_ms = CONNECT_LIMIT_MS,
		.link_limit_s = LINK_LIMIT_S,
		.config = CONFIG_PATH,
		.bandwidth_mbit = 1000,
		.sample_ms = 200,
	};
	nofile_raise();
	pol_init(&o.pol); /* a broken policy file must not stand in the way of recover */
	struct option all[ARRAY_SIZE(long_options) + POL_NOPTIONS] = { 0 };
	int c;

	for (size_t i = 0; i < POL_NOPTIONS; i++)
		all[i] = (struct option){ pol_table[i].name, required_argument, NULL,
			                  OPT_ROW + (int)i };
	memcpy(all + POL_NOPTIONS, long_options, sizeof(long_options));

	while ((c = getopt_long(argc, argv, "p:i:yqvVh", all, NULL)) != -1) {
		keep_name(&o, all, c);
		int r = option(&o, c);

		if (r)
			return r < 0 ? EXIT_USAGE : EXIT_OK;
	}
	log_setup("haul", o.verbose ? LOG_DEBUG_ : o.quiet ? LOG_ERR_ : LOG_WARN_);
	mig_init(&the_mig);
	return dispatch(&o, argc - optind, argv + optind);
}
