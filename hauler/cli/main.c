// SPDX-License-Identifier: GPL-2.0-or-later
/* main.c - the haul command: its table of commands. */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/host/nofile.h"
#include "config.h"
#include "engine/container/front.h"
#include "hauler/cli/cli.h"
#include "hauler/cli/command.h"
#include "hauler/cli/parse.h"
#include "hauler/cli/usage.h"

/* The policies of another host are known there only. */
static int load_policy(struct opts *o)
{
	return o->hauld.agent && strchr(o->hauld.agent, ':') ? 0 : policy_load(o);
}

#define OF_SAVE "leave-running stop end keep"
#define OF_LOAD "state lazy copy"

/* Of two rows with the same word the first whose form fits counts. */
static const struct command rows[] = {
	{ .word = "",
	  .takes = "PID HOST",
	  .min = 2,
	  .max = 2,
	  .root = true,
	  .without = OF_SAVE " " OF_LOAD,
	  .before = load_policy,
	  .hauld = hauld_move,
	  .run = cli_move,
	  .help = "move a process tree to HOST while it runs" },
	{ .word = "check",
	  .takes = "PID [HOST]",
	  .min = 1,
	  .max = 2,
	  .root = true,
	  .without = OF_SAVE " " OF_LOAD,
	  .before = load_policy,
	  .hauld = hauld_check,
	  .run = cli_check,
	  .help = "list what stands in the way; touch nothing" },
	{ .word = "save",
	  .takes = "PID FILE",
	  .min = 2,
	  .max = 2,
	  .root = true,
	  .without = OF_LOAD,
	  .before = load_policy,
	  .run = cli_save,
	  .help = "put a process tree into an archive" },
	{ .word = "load",
	  .takes = "FILE",
	  .min = 1,
	  .max = 1,
	  .root = true,
	  .without = OF_SAVE,
	  .before = load_policy,
	  .run = cli_load,
	  .help = "start the process tree of an archive again" },
	{ .word = "archive",
	  .takes = "show | verify | diff | prune | export",
	  .max = 1 << 20,
	  .run = cli_archive,
	  .help = "look at an archive, check it, make it smaller" },
	{ .word = "run",
	  .takes = "CMD [ARG]...",
	  .min = 1,
	  .max = 1 << 20,
	  .run = cli_run,
	  .help = "run a program that may move, for whoever starts commands" },
	{ .word = "land",
	  .takes = "",
	  .root = true,
	  .run = cli_land,
	  .help = "wait for a program that moves here, and then be it for the caller" },
	{ .word = "trust",
	  .takes = "HOST",
	  .min = 1,
	  .max = 1,
	  .run = cli_trust,
	  .help = "show and store a host's key" },
	{ .word = "recover",
	  .takes = "[ID]",
	  .max = 1,
	  .root = true,
	  .run = cli_recover,
	  .help = "complete or undo what an interrupted haul started" },
	{ .word = "resolve",
	  .takes = "ID --keep-here|--drop-here",
	  .min = 1,
	  .max = 1,
	  .root = true,
	  .run = cli_resolve,
	  .help = "decide when the destination can no longer be asked" },
	{ .word = "policy",
	  .takes = "list | show | explain | check | schema | simulate",
	  .max = 1 << 20,
	  .run = cli_policy,
	  .help = "show, check and simulate policies" },
	{ .word = "attach",
	  .takes = "PID",
	  .min = 1,
	  .max = 1,
	  .run = cli_attach,
	  .help = "use the terminal of a process that was moved here" },
	{ .word = "watch",
	  .takes = "MIGRATION",
	  .min = 1,
	  .max = 1,
	  .run = hauld_watch,
	  .help = "show a migration of hauld until it ends" },
	{ .word = "watch",
	  .takes = "PID",
	  .min = 1,
	  .max = 1,
	  .options = "record seconds sample-ms bandwidth policy json",
	  .policy_options = true,
	  .run = cli_watch,
	  .help = "show what a process writes and what each policy would do" },
	{ .word = "peers",
	  .takes = "[PID]",
	  .max = 1,
	  .root = true,
	  .options = "connect-limit-ms identity known-hosts agent token-file ca json",
	  .hauld = hauld_peers,
	  .run = cli_peers,
	  .help = "list trusted hosts; would PID fit there?" },
	{ .word = "ls", .takes = "", .run = hauld_ls, .help = "list the migrations of hauld" },
	{ .word = "show",
	  .takes = "MIGRATION",
	  .min = 1,
	  .max = 1,
	  .run = hauld_show,
	  .help = "print a migration of hauld as JSON" },
	{ .word = "cancel",
	  .takes = "MIGRATION",
	  .min = 1,
	  .max = 1,
	  .run = hauld_cancel,
	  .help = "cancel a migration of hauld before the hand-over" },
};

static const struct command_table commands = { "haul", rows, ARRAY_SIZE(rows) };

static bool is_number(const char *word)
{
	return *word && strspn(word, "0123456789") == strlen(word);
}

/* No command has this form: say what is wrong. */
static int misused(int argc, char **argv)
{
	if (argc == 0)
		usage(stderr, &commands);
	else if (command_usage(&commands, argv[0]))
		;
	else if (argc == 1 && is_number(argv[0]))
		fprintf(stderr, "haul: where to? haul %s HOST (haul check %s looks only)\n",
		        argv[0], argv[0]);
	else
		fprintf(stderr, "haul: haul PID HOST takes two words, not %d\n", argc);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static struct opts o;
	int first = 0;

	if (front_called(argv[0]))
		return front_main(argv);

	getrlimit(RLIMIT_NOFILE, &o.nofile);
	nofile_raise();
	switch (parse_options(&o, argc, argv, &first)) {
	case PARSE_FAULT:
		return EXIT_USAGE;
	case PARSE_VERSION:
		puts(PACKAGE_STRING);
		return EXIT_OK;
	case PARSE_HELP:
		usage(stdout, &commands);
		return EXIT_OK;
	case PARSE_OK:
		break;
	}
	log_setup("haul", o.verbose ? LOG_DEBUG_ : o.quiet ? LOG_ERR_ : LOG_WARN_);
	int status = command_run(&commands, &o, argc - first, argv + first);

	return status >= 0 ? status : misused(argc - first, argv + first);
}
