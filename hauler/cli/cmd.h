/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd.h - what the files of the haul command share. */
#ifndef HAUL_CMD_H
#define HAUL_CMD_H

#include "hauler/report/report.h"
#include "hauler/run/run.h"

/* Exit statuses; the man page lists them. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* not moved; the process goes on here */
	EXIT_USAGE = 2,
	EXIT_BLOCKED = 3, /* something stands in the way; nothing was touched */
	EXIT_ATTENTION = 4, /* handed over, outcome unknown: an operator must look */
	EXIT_INTERRUPTED = 130,
};

/** catch_signals() - Ctrl-C and the like go to run_stop() from now on */
void catch_signals(void);
/** recovering() - the migration that haul recover is at, or NULL */
struct mig *recovering(void);
int cmd_recover(const struct opts *o, int argc, char **argv);
int cmd_resolve(const struct opts *o, int argc, char **argv);

/** cmd_policy_load() - the policy and the options beside it. Return: 0; -EINVAL after a message */
int cmd_policy_load(struct opts *o);
/** cmd_policy() / cmd_watch() - haul policy ..., haul watch PID. Return: an exit status */
int cmd_policy(struct opts *o, int argc, char **argv);
int cmd_watch(struct opts *o);
/** cmd_policy_pick() - o->pol, if the command line has a policy or options. Return: as above */
int cmd_policy_pick(struct opts *o);

/* ---- usage.c ---- */

/** usage() - the text of --help */
void usage(FILE *f);
/** misused() - the words do not make a command: say which is wrong. Return: EXIT_USAGE */
int misused(int argc, char **argv);
/** is_command() - the word of a command, which takes others than it has */
bool is_command(const char *word);
/**
 * only_takes() - no options but these were given
 * @options: words; --quiet and --verbose beside them; @rows: and those of policies
 * Return: 0; -EINVAL after a message
 */
int only_takes(const struct opts *o, const char *command, const char *options, bool rows);

/* ---- cmd_agent.c: by a hauld. Return: an exit status; -1: without one, then */

int agent_haul(struct opts *o);
int agent_check(const struct opts *o);
int agent_peers(const struct opts *o);
/** agent_command() - @verb: ls, show, watch, cancel; @id: of a migration of hauld */
int agent_command(const struct opts *o, const char *verb, const char *id);
/** is_job_id() - 16 hexadecimal digits: hauld's id of a migration, never a pid */
bool is_job_id(const char *word);

/** cmd_peers() - the hosts that are trusted; o->pid: would it fit? */
int cmd_peers(const struct opts *o);
/** cmd_attach() - speak for the terminal of @pid, which came by --map=tty=attach */
int cmd_attach(pid_t pid);
/**
 * cmd_policies_now() - a table: what each policy, or the one that was picked, would do with
 * the program of @t, from its start
 * Return: EXIT_USAGE when one is broken: its row says how
 */
struct trace;
int cmd_policies_now(const struct opts *o, const struct trace *t);

#endif
