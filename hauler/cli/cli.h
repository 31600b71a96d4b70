/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cli.h - what the files of the haul command share. */
#ifndef HAUL_CLI_H
#define HAUL_CLI_H

#include "hauler/mig/mig.h"
#include "hauler/report/report.h"
#include "hauler/run/run.h"

/* Exit statuses; the man page lists them. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* not moved; the process runs here */
	EXIT_USAGE = 2,
	EXIT_BLOCKED = 3, /* the move is not possible; nothing was touched */
	EXIT_ATTENTION = 4, /* handed over, outcome unknown: an operator must look */
	EXIT_INTERRUPTED = 130,
};

/* ---- the commands. @argv: the words behind the command's. Return: an exit status ---- */

/** cli_status() - exit status of a migration that has failed */
int cli_status(const struct mig *m);
/** cli_move() - haul PID HOST */
int cli_move(struct opts *o, int argc, char **argv);
/** cli_save() - haul save PID FILE */
int cli_save(struct opts *o, int argc, char **argv);
/** cli_load() - haul load FILE */
int cli_load(struct opts *o, int argc, char **argv);
/** cli_archive() - haul archive show, verify, diff, prune, export */
int cli_archive(struct opts *o, int argc, char **argv);
/** cli_check() - haul check */
int cli_check(struct opts *o, int argc, char **argv);
/** cli_trust() - haul trust */
int cli_trust(struct opts *o, int argc, char **argv);
/** cli_recover() - haul recover */
int cli_recover(struct opts *o, int argc, char **argv);
/** cli_resolve() - haul resolve */
int cli_resolve(struct opts *o, int argc, char **argv);
/** cli_policy() - haul policy */
int cli_policy(struct opts *o, int argc, char **argv);
/** cli_watch() - haul watch */
int cli_watch(struct opts *o, int argc, char **argv);
/** cli_peers() - the hosts that are trusted; o->pid: would it fit? */
int cli_peers(struct opts *o, int argc, char **argv);
/** cli_attach() - use the terminal of o->pid, which came by --map=tty=attach */
int cli_attach(struct opts *o, int argc, char **argv);

/** cli_run() - a program that may move: o->as is its key */
int cli_run(struct opts *o, int argc, char **argv);
/** cli_land() - a program that moves here under o->as */
int cli_land(struct opts *o, int argc, char **argv);

/* ---- peers.c ---- */

#define CLI_HOST_BYTES 256

/** cli_trusted() - the hosts whose keys are trusted. Return: how many */
size_t cli_trusted(const struct opts *o, char (*host)[CLI_HOST_BYTES], size_t max);

/* ---- policy.c ---- */

/** policy_load() - the policy and the options beside it. Return: 0; -EINVAL after a message */
int policy_load(struct opts *o);
/** policy_given() - does the command line have this option of policies? */
bool policy_given(const struct opts *o, const char *name);
/** policy_pick() - o->pol, if the command line has a policy or options. Return: as above */
int policy_pick(struct opts *o);
/**
 * policy_table() - a table: what each policy, or the one that was picked, would do with
 * the program of @t, from its start
 * Return: EXIT_USAGE when one is broken: its row says how
 */
struct trace;
/** policy_table() - what each policy would do with @t, as a table. Return: an exit status */
int policy_table(const struct opts *o, const struct trace *t);

/* ---- hauld.c: done by a hauld. Return: an exit status; -1: there is none to ask, or the
 * command line has an option that this process has to carry out itself ---- */

/** hauld_move() - haul PID HOST */
int hauld_move(struct opts *o);
/** hauld_check() - haul check PID HOST */
int hauld_check(struct opts *o);
/** hauld_peers() - haul peers */
int hauld_peers(struct opts *o);

/* ---- hauld.c: the migrations of a hauld. Return: an exit status ---- */

/** hauld_ls() - haul ls */
int hauld_ls(struct opts *o, int argc, char **argv);
/** hauld_show() - haul show ID */
int hauld_show(struct opts *o, int argc, char **argv);
/** hauld_watch() - haul watch ID */
int hauld_watch(struct opts *o, int argc, char **argv);
/** hauld_cancel() - haul cancel ID */
int hauld_cancel(struct opts *o, int argc, char **argv);

#endif
