// SPDX-License-Identifier: GPL-2.0-or-later
/* tool.c - run the command of a runtime. */
#include "engine/container/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

#define SAID_BYTES   16384
#define REASON_BYTES 300

/* Its words go into memory files: a container that it has started may keep them open. */
struct tool {
	pid_t pid;
	int pidfd, out, err;
	bool ended;
	char name[64], said[SAID_BYTES];
};

/* Between fork and exec: async-signal-safe calls only. */
static void child(const struct tool *c, char *const *argv, char *const *env)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(c->out, 1);
	dup2(c->err, 2);
	syscall(SYS_close_range, 3, ~0U, 0);
	execvpe(argv[0], argv, env);
	_exit(127);
}

/* Our environment with another PATH. Return: an array, the caller's */
static char **environment(const char *path)
{
	size_t n = 0;

	while (environ[n])
		n++;
	char **v = calloc(n + 2, sizeof(*v));

	n = 0;
	for (char **e = environ; v && *e; e++)
		if (!path || strncmp(*e, "PATH=", 5) != 0)
			v[n++] = *e;
	if (v && path)
		v[n] = (char *)path;
	return v;
}

int tool_start(struct tool **out, const char *const *argv, const char *path, struct err *e)
{
	AUTO(tool) struct tool *c = calloc(1, sizeof(*c));
	AUTO(mem) char **env = environment(path);

	if (!c || !env)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	snprintf(c->name, sizeof(c->name), "%s", argv[0]);
	c->pidfd = -1;
	c->out = memfd_create("out", MFD_CLOEXEC);
	c->err = memfd_create("err", MFD_CLOEXEC);
	if (c->out < 0 || c->err < 0)
		return err_sys(e, "descriptors for %s", argv[0]);
	c->pid = fork();
	if (c->pid < 0)
		return err_sys(e, "fork for %s", argv[0]);
	if (c->pid == 0)
		child(c, (char *const *)argv, env);
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	*out = steal(c);
	return 0;
}

int tool_pidfd(const struct tool *c)
{
	return c->pidfd;
}

/* The last line with an error of it, or the last at all. */
static void reason(const struct tool *c, char *out, size_t bytes)
{
	char text[4096];
	off_t end = lseek(c->err, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
	ssize_t n = pread(c->err, text, sizeof(text) - 1, from);
	char *save = NULL;

	text[n > 0 ? n : 0] = 0;
	out[0] = 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (*line && (!strstr(line, "level=warning") || !out[0]))
			snprintf(out, bytes, "%s", line);
}

int tool_wait(struct tool *c, uint64_t deadline_us, struct err *e)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
	char why[REASON_BYTES];
	int status = 0, r;

	do {
		r = poll(&p, 1, deadline_poll_ms(deadline_us));
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	c->ended = true;
	if (r <= 0)
		return err_set(e, ERR_SYS, ETIMEDOUT, "%s does not end: killed", c->name);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	reason(c, why, sizeof(why));
	return WIFEXITED(status) && WEXITSTATUS(status) == 127
	               ? err_set(e, ERR_SYS, ENOENT, "%s is not installed", c->name)
	               : err_set(e, ERR_SYS, EPROTO, "%s: %s", c->name,
	                         why[0] ? why : "it failed without a word");
}

/* Its standard output, after tool_wait(); valid until tool_free() */
static const char *said_by(struct tool *c)
{
	ssize_t n = pread(c->out, c->said, sizeof(c->said) - 1, 0);

	c->said[n > 0 ? n : 0] = 0;
	return c->said;
}

int tool_out(const struct tool *c)
{
	return c->out;
}

void tool_free(struct tool *c)
{
	if (!c)
		return;
	if (!c->ended && c->pid > 0)
		waitpid(c->pid, NULL, WNOHANG);
	for (int i = 0; i < 3; i++)
		if ((i == 0 ? c->pidfd : i == 1 ? c->out : c->err) > 0)
			close(i == 0 ? c->pidfd : i == 1 ? c->out : c->err);
	free(c);
}

int tool_run(const char *const *argv, unsigned int limit_ms, char *said, size_t bytes,
             struct err *e)
{
	AUTO(tool) struct tool *c = NULL;
	int r = tool_start(&c, argv, NULL, e);

	if (r < 0)
		return r;
	r = tool_wait(c, deadline_in_ms(limit_ms), e);
	if (r == 0 && said)
		snprintf(said, bytes, "%s", said_by(c));
	return r;
}
