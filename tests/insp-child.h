/* SPDX-License-Identifier: GPL-2.0-or-later */
/* insp-child.h - for t-inspect-*: a child in some situation, and what is found of it. */
#ifndef HAUL_INSP_CHILD_H
#define HAUL_INSP_CHILD_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hauler/inspect/inspect.h"
#include "tests/checks.h"
#include "transport/msg/haul.pb-c.h"

static unsigned int t_skipped;
static int t_keep = -1; /* a descriptor that the next child gets as number 3 */

/* What a situation is made of; runs in the child. Return: 0; 77 not possible here */
typedef int (*t_setup)(void *arg);

/* A child with a session of its own, nothing open but /dev/null, and what @setup makes. */
static inline pid_t t_child(t_setup setup, void *arg)
{
	int ready[2], status = 1, pid_end;

	fflush(stdout);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		dup2(ready[1], 1000);
		if (t_keep >= 0)
			dup3(t_keep, 3, 0);
		close_range(t_keep >= 0 ? 4 : 3, 999, 0);
		close_range(1001, ~0U, 0);
		if (chdir("/") < 0)
			_exit(1);
		status = setup ? setup(arg) : 0;
		if (write(1000, &status, sizeof(status)) < 0)
			_exit(1);
		close(1000);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &status, sizeof(status)) != sizeof(status))
		status = 1;
	/* until it has closed its end: that is no part of the situation */
	while (read(ready[0], &pid_end, sizeof(pid_end)) > 0)
		;
	close(ready[0]);
	if (status == 0)
		return pid;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return status == 77 ? 0 : -1;
}

static inline void t_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static inline const struct finding *t_find(const struct inspect *i, const char *code)
{
	const struct findings *f = inspect_findings(i);

	for (size_t k = 0; k < f->n; k++)
		if (!strcmp(f->v[k].code, code))
			return &f->v[k];
	return NULL;
}

static inline void t_show(const struct inspect *i)
{
	const struct findings *f = inspect_findings(i);

	for (size_t k = 0; k < f->n; k++)
		printf("  %d %s: %s [%s]\n", f->v[k].severity, f->v[k].code, f->v[k].text,
		       f->v[k].remedy);
}

static inline struct inspect *t_look(pid_t pid)
{
	struct err e = ERR_INIT;
	struct inspect *i = NULL;
	int r = inspect_new(&i, pid, &e);

	CHECK(r == 0, "inspect_new(%d): %d %s", pid, r, e.msg);
	return i;
}

/* One situation: @code is found with @severity, and no blocker or warning besides. */
static inline void t_case(const char *name, t_setup setup, void *arg, const char *code,
                          enum severity severity)
{
	pid_t pid = t_child(setup, arg);

	if (pid == 0) {
		printf("%s: not possible here\n", name);
		t_skipped++;
		return;
	}
	CHECK(pid > 0, "%s: no child", name);
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;

	if (pid > 0)
		t_end(pid);
	if (!i)
		return;
	const struct findings *f = inspect_findings(i);
	const struct finding *hit = code ? t_find(i, code) : NULL;
	bool failed = checks_failed;

	CHECK(!code || hit, "%s: %s not found", name, code);
	if (hit) {
		CHECK(hit->severity == severity, "%s: severity %d", name, hit->severity);
		CHECK(severity == SEV_INFO || hit->remedy[0], "%s: no remedy", name);
	}
	for (size_t k = 0; k < f->n; k++)
		CHECK(f->v[k].severity == SEV_INFO || (code && !strcmp(f->v[k].code, code)),
		      "%s: %s besides", name, f->v[k].code);
	if (getenv("SHOW") || (checks_failed && !failed)) {
		printf("%s:\n", name);
		t_show(i);
	}
}

/* The child has @fd, which is ours too, as number 3. */
static inline void t_case_fd(const char *name, int fd, const char *code, enum severity severity)
{
	t_keep = fd;
	t_case(name, NULL, NULL, code, severity);
	t_keep = -1;
}

/* Return: 77 without the rights that the inspection needs, else 0 */
static inline int t_need_root(void)
{
	if (geteuid() == 0)
		return 0;
	printf("skipped: needs root\n");
	return 77;
}

#endif
