// SPDX-License-Identifier: GPL-2.0-or-later
/* hook.c - run the operator's programs with a deadline. */
#include "common/hook.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

#define LIMIT_MS_DEFAULT 5000
#define LIMIT_MS_MAX     600000
#define SAID_BYTES       200

static_assert(CONF_HOOK_UNDONE - CONF_HOOK_PREPARE == HOOK_UNDONE, "a key for each point");

enum conf_key hook_key(enum hook_point p)
{
	return (enum conf_key)(CONF_HOOK_PREPARE + (int)p);
}

const char *hook_name(enum hook_point p)
{
	return conf_name(hook_key(p)) + strlen("hook-");
}

int hook_load(struct hooks *h, const char *config, struct err *e)
{
	h->limit_ms = LIMIT_MS_DEFAULT;
	int r = conf_number(config, CONF_HOOK_LIMIT_MS, 1, LIMIT_MS_MAX, &h->limit_ms, e);

	for (int p = 0; r >= 0 && p < HOOK_N; p++)
		if (!h->path[p][0]) /* not given on the command line */
			r = conf_get(config, hook_key(p), h->path[p], sizeof(h->path[p]), e);
	return r < 0 ? r : 0;
}

int hook_option(struct hooks *h, const char *text, struct err *e)
{
	const char *eq = strchr(text, '=');

	for (int p = 0; eq && p < HOOK_N; p++)
		if (strlen(hook_name(p)) == (size_t)(eq - text) &&
		    !strncmp(hook_name(p), text, strlen(hook_name(p))) && eq[1] == '/' &&
		    strlen(eq + 1) < HOOK_PATH_BYTES) {
			strcpy(h->path[p], eq + 1);
			return 0;
		}
	return err_set(e, ERR_USER, EINVAL,
	               "--hook=%s: not POINT=/FILE, with a point that haul(8) lists", text);
}

/* Between fork and exec: async-signal-safe calls only. */
static void child_exec(const char *path, int in, int out)
{
	char *argv[] = { (char *)path, NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	execv(path, argv);
	_exit(127);
}

/* Return: 0 and *status; -ETIMEDOUT: the program and its children were killed */
static int wait_for(pid_t pid, unsigned int limit_ms, int *status)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	uint64_t deadline = deadline_in_ms(limit_ms);
	int n;

	do {
		n = poll(&p, 1, deadline_poll_ms(deadline));
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return n <= 0 ? -ETIMEDOUT : 0;
}

int hook_run(const struct hooks *h, enum hook_point p, const char *json, struct err *e)
{
	const char *path = h->path[p];
	char said[SAID_BYTES] = "";
	int status = 0;

	if (!path[0])
		return 0;
	AUTO(fd) int in = memfd_create("hook-in", MFD_CLOEXEC);
	AUTO(fd) int out = memfd_create("hook-out", MFD_CLOEXEC);

	if (in < 0 || out < 0 || write(in, json, strlen(json)) < 0 || lseek(in, 0, SEEK_SET) < 0)
		return err_sys(e, "hook %s", path);
	fcntl(out, F_SETFL, O_APPEND);
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, "hook %s", path);
	if (pid == 0)
		child_exec(path, in, out);
	uint64_t t0 = now_us();
	int r = wait_for(pid, h->limit_ms, &status);
	ssize_t n = pread(out, said, sizeof(said) - 1, 0);

	said[n > 0 ? n : 0] = 0;
	said[strcspn(said, "\n")] = 0;
	log_info("hook=%s path=%s status=%d us=%llu", hook_name(p), path, status,
	         (unsigned long long)(now_us() - t0));
	if (r < 0) {
		err_set(e, ERR_USER, ETIMEDOUT, "hook %s did not end within %u ms", path,
		        h->limit_ms);
		return err_fix(e, "make it quicker, or set hook-limit-ms in the configuration");
	}
	if (status == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !said[0])
		snprintf(said, sizeof(said), "it cannot be run");
	return err_set(e, ERR_USER, ECANCELED, "hook %s says no (status %d)%s%s", path,
	               WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
	               said[0] ? ": " : "", said);
}
