// SPDX-License-Identifier: GPL-2.0-or-later
/* task.c - commands that take a while: the request is suspended until they end. */
#include "agent/api/task.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/reply.h"
#include "common/auto.h"
#include "common/clock.h"

#define TASKS_MAX      16
#define KEPT_FREE      4 /* of these, for root and admins */
#define USERS_MAX      6 /* of all users of the socket other than root */
#define OF_USER_MAX    2
#define OF_TOKEN_MAX   6
#define TASK_OUT_BYTES 4194304
#define TASK_LIMIT_MS  60000

/*
 * A check of a host that says nothing takes as long as TASK_LIMIT_MS: nobody but root, or an
 * admin's token, may have all commands wait for such a host.
 */
static bool may_start(const struct api *a, const struct who *who)
{
	unsigned int all = 0, users = 0, own = 0;

	for (const struct task *t = a->task; t; t = t->next) {
		all++;
		users += t->who.role == ROLE_USER;
		own += t->who.role == who->role && !strcmp(t->who.name, who->name);
	}
	switch (who->role) {
	case ROLE_ADMIN:
		return all < TASKS_MAX;
	case ROLE_USER:
		return own < OF_USER_MAX && users < USERS_MAX && all < TASKS_MAX - KEPT_FREE;
	default:
		return own < OF_TOKEN_MAX && all < TASKS_MAX - KEPT_FREE;
	}
}

static int spawn(const char *path, const char *const *argv, int out, pid_t *pid)
{
	extern char **environ;
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	int r = posix_spawn(pid, path, &fa, &attr, (char *const *)argv, environ);

	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return -r;
}

int task_start(struct req *q, const char *path, const char *const *argv, int (*then)(struct req *q))
{
	AUTO(mem) struct task *t = calloc(1, sizeof(*t));
	int pipes[2];

	if (!t || !may_start(q->api, &q->who))
		return reply_problem(q, 503, "busy", "too many checks are running already");
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
		return reply_problem(q, 500, "internal", "pipe: %s", strerror(errno));
	int r = spawn(path, argv, pipes[1], &t->pid);

	close(pipes[1]);
	if (r < 0) {
		close(pipes[0]);
		return reply_problem(q, 500, "internal", "%s: %s", argv[0], strerror(-r));
	}
	t->fd = pipes[0];
	t->q = q;
	t->who = q->who;
	t->deadline_us = deadline_in_ms(TASK_LIMIT_MS);
	t->next = q->api->task;
	q->task = q->api->task = t;
	q->then = then;
	(void)steal(t);
	MHD_suspend_connection(q->c);
	return MHD_YES;
}

void task_read(struct task *t)
{
	char buf[16384];
	ssize_t n;

	while (t->fd >= 0 && (n = read(t->fd, buf, sizeof(buf))) != 0) {
		if (n < 0)
			return;
		char *more = t->bytes + (size_t)n > TASK_OUT_BYTES
		                     ? NULL
		                     : realloc(t->out, t->bytes + (size_t)n + 1);

		if (!more)
			continue; /* read on, so that the command ends, but keep nothing */
		t->out = more;
		memcpy(t->out + t->bytes, buf, (size_t)n);
		t->bytes += (size_t)n;
		t->out[t->bytes] = 0;
	}
}

void task_ended(struct api *a, pid_t pid, int status)
{
	for (struct task *t = a->task; t; t = t->next) {
		if (t->pid != pid || t->ended)
			continue;
		task_read(t);
		t->ended = true;
		t->status = status;
		if (t->q)
			MHD_resume_connection(t->q->c);
		else
			task_free(a, t);
		return;
	}
}

void task_tick(struct api *a)
{
	for (struct task *t = a->task; t; t = t->next)
		if (!t->ended && now_us() > t->deadline_us)
			kill(-t->pid, SIGKILL); /* its session: what it started, too */
}

void task_abandon(struct task *t)
{
	t->q = NULL;
	kill(-t->pid, SIGKILL);
}

void task_free(struct api *a, struct task *t)
{
	for (struct task **p = &a->task; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	close(t->fd);
	free(t->out);
	free(t);
}

json_t *task_lines(const struct task *t)
{
	json_t *v = json_array();
	char *rest = t->out, *line;

	while (rest && (line = strsep(&rest, "\n"))) {
		json_t *o = *line ? json_loads(line, 0, NULL) : NULL;

		if (o)
			json_array_append_new(v, o);
	}
	return v;
}
