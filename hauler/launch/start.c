// SPDX-License-Identifier: GPL-2.0-or-later
/* start.c - the programs that the holder starts, with nothing in them that haul has changed. */
#include "hauler/launch/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "hauler/options/options.h"

#define EXIT_NOT_FOUND 127
#define EXIT_NOT_RUN   126
#define WORD_BYTES     1200

static void as_before(const struct holder *h)
{
	setrlimit(RLIMIT_NOFILE, &h->l->opt->nofile);
	sigaction(SIGPIPE, &h->before->pipe, NULL);
	sigprocmask(SIG_SETMASK, &h->before->mask, NULL);
}

/* The streams may have the numbers that they are to get. */
static void take_streams(const struct holder *h)
{
	int high[STAND_STREAMS];

	for (int k = 0; k < STAND_STREAMS; k++)
		high[k] = fcntl(h->s->program[k], F_DUPFD_CLOEXEC, 10);
	for (int k = 0; k < STAND_STREAMS; k++)
		dup2(high[k], k);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
}

static void become_program(const struct holder *h)
{
	char *const *argv = h->l->argv;

	setsid(); /* a signal to the caller's group reaches it through the front, once */
	take_streams(h);
	as_before(h);
	execvp(argv[0], argv);
	int code = errno;

	dprintf(STDERR_FILENO, "haul: %s: %s\n", argv[0], strerror(code));
	_exit(code == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

pid_t start_program(const struct holder *h, struct err *e)
{
	pid_t pid = fork();

	if (pid == 0)
		become_program(h);
	return pid < 0 ? err_sys(e, "fork") : pid;
}

/* ---- the haul that moves it ---- */

/* Does it mean something to a move? Those of haul run itself do not. */
static bool is_passed_on(const struct given *g)
{
	static const int own[] = { OPTION_AS,      OPTION_TO,    OPTION_GIVE_ON,
		                   OPTION_PARK_S,  OPTION_OWNER, OPTION_AWAY_STATUS,
		                   OPTION_VERBOSE, OPTION_QUIET, OPTION_JSON };

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (g->row == &options_table[own[i]])
			return false;
	return true;
}

static char *word(const char *name, const char *text)
{
	char *s = malloc(WORD_BYTES);

	if (s)
		snprintf(s, WORD_BYTES, "--%s%s%s", name, text ? "=" : "", text ? text : "");
	return s;
}

static void become_mover(const struct holder *h, const char *host)
{
	const struct opts *o = h->l->opt;
	char *argv[OPTS_GIVEN_MAX + 8], pid[16], name[] = "haul", quiet[] = "--quiet";
	int n = 0, null = open("/dev/null", O_RDWR);

	argv[n++] = name;
	argv[n++] = quiet;
	for (unsigned int i = 0; i < o->n_given; i++)
		if (is_passed_on(&o->given[i]))
			argv[n++] = word(o->given[i].name, o->given[i].text);
	argv[n++] = word("as", o->as);
	snprintf(pid, sizeof(pid), "%d", h->root);
	argv[n++] = pid;
	argv[n++] = (char *)host;
	argv[n] = NULL;
	for (int k = 0; k < STAND_STREAMS; k++)
		if (k != STDERR_FILENO || !o->verbose)
			dup2(null, k);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	as_before(h);
	execv("/proc/self/exe", argv);
	_exit(EXIT_NOT_FOUND);
}

pid_t start_mover(const struct holder *h, const char *host)
{
	pid_t pid = fork();

	if (pid == 0)
		become_mover(h, host);
	return pid < 0 ? -errno : pid;
}
