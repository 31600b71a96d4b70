// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hwbreak.c - does a hardware breakpoint stop a traced process here?
 *
 * In some virtual machines it can be set but is never hit. CRIU before 4.2 does not check that,
 * and waits for one for ever at the end of a dump and of a restore. It can be told to count system
 * calls instead: CRIU_FAULT=130 (FI_NO_BREAKPOINTS in its criu/include/fault-injection.h).
 */
#include "engine/criu/criu.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "common/log.h"

#define NO_BREAKPOINTS "CRIU_FAULT=130"

extern char **environ;

/* behind once */
static bool missed;
static char **env;

#ifdef __x86_64__
static void __attribute__((noinline, noclone)) pass(void)
{
	__asm__ volatile("nop");
}

static bool poke(pid_t pid, unsigned int reg, unsigned long value)
{
	size_t at = offsetof(struct user, u_debugreg) + reg * sizeof(value);

	return ptrace(PTRACE_POKEUSER, pid, at, value) == 0;
}

static void look(void)
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		pass();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &st, 0) != pid || !WIFSTOPPED(st))
		return;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL);
	/* CRIU does not wait for one that cannot be set */
	bool set = poke(pid, 0, (unsigned long)pass) && poke(pid, 7, 1);

	ptrace(PTRACE_CONT, pid, NULL, NULL);
	if (waitpid(pid, &st, 0) == pid && WIFSTOPPED(st)) {
		kill(pid, SIGKILL);
		waitpid(pid, &st, 0);
	} else {
		missed = set;
	}
}
#else
static void look(void)
{
}
#endif

static void make_env(void)
{
	size_t n = 0;

	look();
	env = environ;
	if (!missed || getenv("CRIU_FAULT"))
		return;
	log_debug("hardware breakpoints are not hit here: CRIU does without");
	while (environ[n])
		n++;
	char **own = calloc(n + 2, sizeof(*own)); /* kept until we end */

	if (!own)
		return;
	memcpy(own, environ, n * sizeof(*own));
	own[n] = (char *)NO_BREAKPOINTS;
	env = own;
}

char **hwbreak_env(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_env);
	return env;
}
