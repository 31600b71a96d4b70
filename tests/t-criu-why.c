// SPDX-License-Identifier: GPL-2.0-or-later
/* t-criu-why.c - logs and messages of CRIU, and the cause that is made of them. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/criu/criu.h"
#include "engine/images/img.h"

#define RLIMIT_LINE                                                                                \
	"(00.000161) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: "       \
	"Operation not permitted\n"
#define LOG "dump.log"

static const struct why_case {
	const char *name;
	const char *log; /* NULL: there is none */
	const char *errmsg;
	const char *want;
} cases[] = {
	{ "the log tells",
	  RLIMIT_LINE "(00.1) Warn  (criu/a.c:1): hm\n"
	              "(00.2) Error (criu/sk-unix.c:5): A socket leads out\n",
	  "Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self",
	  "A socket leads out" },
	{ "two lines", "(0.1) Error (criu/a.c:1): One\n(0.2) Error (criu/b.c:2): Two\n", NULL,
	  "One; Two" },
	{ "the log before the message", "(0.1) Error (criu/a.c:1): From the log\n",
	  "Error (criu/a.c:9): From the message", "From the log" },
	{ "no log, a message", NULL, "Error (criu/cr-dump.c:7): No such tree\n", "No such tree" },
	{ "a message without a place", NULL, "No such tree", "No such tree" },
	{ "a harmless line only", RLIMIT_LINE,
	  "Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self",
	  "no reason given" },
	{ "an empty log, a harmless message", "",
	  "Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self", "wrote no log" },
	{ "no log, its stream has no cork", NULL,
	  "Error (criu/util.c:1077): Unable to restore TCP_CORK (1): Operation not supported",
	  "wrote no log" },
	{ "nothing at all", NULL, NULL, "wrote no log" },
	{ "an empty message", NULL, "", "wrote no log" },
};

static int wrong(const char *name, const char *got, const char *want)
{
	if (strstr(got, want) && !strstr(got, "RLIMIT"))
		return 0;
	fprintf(stderr, "%s: \"%s\", not \"%s\"\n", name, got, want);
	return 1;
}

static int new_dir(void)
{
	struct err e = ERR_INIT;
	int dir = -1;

	if (img_dir(&dir, &e) < 0) {
		printf("skipped: %s\n", e.msg);
		exit(77);
	}
	return dir;
}

static int by_table(void)
{
	int bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO(fd) int dir = new_dir();
		struct err e = ERR_INIT;
		char out[400];

		if (cases[i].log && img_save(dir, LOG, cases[i].log, strlen(cases[i].log), &e) < 0)
			return 1;
		criu_why(dir, LOG, cases[i].errmsg, 0, out, sizeof(out));
		bad += wrong(cases[i].name, out, cases[i].want);
	}
	return bad;
}

/* A process that may not write files, as CRIU's would be. */
static int limited(void)
{
	AUTO(fd) int dir = new_dir();
	struct rlimit none = { 0, 0 };
	char out[400];
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	prlimit(pid, RLIMIT_FSIZE, &none, NULL);
	/* its consequence is not the cause */
	criu_why(dir, LOG, "Fail to truncate memfd for parasite: File too large", pid, out,
	         sizeof(out));
	kill(pid, SIGKILL);
	/* it may have ended by then, as CRIU will have */
	int bad = wrong("limited", out, "limited to 0 bytes (ulimit -f)");

	siginfo_t si;

	waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT);
	criu_why(dir, LOG, NULL, pid, out, sizeof(out));
	bad += wrong("limited, ended", out, "limited to 0 bytes (ulimit -f)");
	waitpid(pid, NULL, 0);
	return bad;
}

/* Long logs and narrow buffers. */
static int bounds(void)
{
	AUTO(fd) int dir = new_dir();
	AUTO(mem) char *log = calloc(1, 1 << 16);
	struct err e = ERR_INIT;
	int bad = 0;

	for (int i = 0; i < 500; i++)
		strcat(log, "(0.1) Error (criu/a.c:1): the same long line again and again\n");
	if (img_save(dir, LOG, log, strlen(log), &e) < 0)
		return 1;
	for (size_t n = 1; n < 200; n++) {
		char out[201];

		memset(out, 'x', sizeof(out));
		criu_why(dir, LOG, NULL, 0, out, n);
		bad += strnlen(out, n) >= n || out[n] != 'x';
	}
	return bad;
}

int main(void)
{
	return by_table() + limited() + bounds() ? 1 : 0;
}
