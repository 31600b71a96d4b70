// SPDX-License-Identifier: GPL-2.0-or-later
/* super.c - starts the API process and the webhook processes, and restarts them. */
#include "agent/daemon/super.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/handlers/routes.h"
#include "agent/api/webhook.h"
#include "agent/daemon/settings.h"
#include "agent/daemon/listen.h"
#include "agent/daemon/systemd.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

#define AGAIN_MS      1000
#define SILENT_MAX_US 30000000 /* an API process that does not beat for this long is killed */
#define NO_API        "none"

void super_init(struct super *s, const struct api_conf *conf, void (*child)(void *arg), void *arg)
{
	*s = (struct super){ .conf = *conf,
		             .given = { -1, -1, -1, -1 },
		             .beat_fd = -1,
		             .child = child,
		             .arg = arg };
}

/* ---- what the API process is given ---- */

static int lock_state(struct super *s, struct err *e)
{
	char dir[sizeof(s->conf.state)];

	snprintf(dir, sizeof(dir), "%s", s->conf.state);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(dir, 0755); /* the next step reports a failure */
		*p = '/';
	}
	if (mkdir(s->conf.state, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s", s->conf.state);
	AUTO(fd) int fd = open(s->conf.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "%s", s->conf.state);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_SYS, errno, "%s is in use by another hauld", s->conf.state);
	s->given.state_fd = steal_fd(&fd);
	return 0;
}

static int open_local(struct super *s, struct err *e)
{
	int fd = systemd_socket("haul-api");

	if (fd < 0)
		fd = listen_unix(s->conf.socket, e);
	s->given.local_fd = fd;
	return fd < 0 ? fd : 0;
}

static int open_tls(struct super *s, struct err *e)
{
	int fd = systemd_socket("haul-tls");

	if (fd < 0)
		fd = listen_on(s->conf.bind[0] ? s->conf.bind : NULL, s->conf.port, e);
	s->given.tls_fd = fd;
	return fd < 0 ? fd : 0;
}

static int open_all(struct super *s, struct err *e)
{
	int r = s->given.state_fd < 0 ? lock_state(s, e) : 0;

	if (r)
		return r;
	r = s->given.local_fd < 0 ? open_local(s, e) : 0;
	if (r)
		return r;
	return s->given.tls_fd < 0 && s->conf.port ? open_tls(s, e) : 0;
}

/* Return: 0 when everything is open */
static int prepare(struct super *s)
{
	struct err e = ERR_INIT;
	int r = open_all(s, &e);

	if (r < 0 && !s->warned)
		log_err("cannot start the API yet: %s", e.msg);
	s->warned = r < 0;
	return r;
}

static void forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- children ---- */

static pid_t begin(struct super *s)
{
	pid_t pid = fork();

	if (pid == 0)
		s->child(s->arg);
	return pid;
}

static void start_api(struct super *s)
{
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	pid_t pid = begin(s);

	if (pid == 0) {
		close(pipes[0]);
		s->given.beat_fd = pipes[1];
		_exit(api_main(&s->conf, &s->given, routes));
	}
	close(pipes[1]);
	forget(&s->beat_fd);
	s->beat_fd = pipes[0];
	s->beat_us = now_us();
	s->api.pid = pid > 0 ? pid : 0;
}

static const char *word_of(const char *list, unsigned int n, char *out, size_t bytes)
{
	for (;; n--) {
		list += strspn(list, " ,\t");
		size_t len = strcspn(list, " ,\t");

		if (len == 0 || len >= bytes)
			return NULL;
		if (n == 0) {
			memcpy(out, list, len);
			out[len] = 0;
			return out;
		}
		list += len;
	}
}

static void start_hook(struct super *s, unsigned int i)
{
	char url[1024];

	if (!word_of(s->conf.webhooks, i, url, sizeof(url)))
		return;
	pid_t pid = begin(s);

	if (pid == 0) {
		forget(&s->given.local_fd);
		forget(&s->given.tls_fd);
		_exit(webhook_main(&s->conf, s->given.state_fd, url));
	}
	s->hook[i].pid = pid > 0 ? pid : 0;
}

static bool due(struct side *c)
{
	if (c->pid || now_us() < c->again_us)
		return false;
	c->again_us = deadline_in_ms(AGAIN_MS);
	return true;
}

static void listen_to_heart(struct super *s)
{
	char buf[64];

	while (s->beat_fd >= 0 && read(s->beat_fd, buf, sizeof(buf)) > 0) {
		s->beat_us = now_us();
		if (!s->beaten)
			systemd_notify("READY=1\nSTATUS=serving peers and the API");
		s->beaten = true;
	}
	if (s->api.pid && now_us() - s->beat_us > SILENT_MAX_US) {
		log_err("api=%d has sent no sign of life for %d s: killed", s->api.pid,
		        SILENT_MAX_US / 1000000);
		kill(s->api.pid, SIGKILL);
		s->beat_us = now_us();
	}
}

void super_tick(struct super *s)
{
	listen_to_heart(s);
	if (!strcmp(s->conf.socket, NO_API)) {
		if (!s->beaten)
			systemd_notify("READY=1\nSTATUS=serving peers");
		s->beaten = true;
		return;
	}
	if (due(&s->api)) {
		if (prepare(s) < 0)
			return;
		start_api(s);
	}
	for (unsigned int i = 0; s->given.state_fd >= 0 && i < WEBHOOKS_MAX; i++)
		if (due(&s->hook[i]))
			start_hook(s, i);
}

bool super_died(struct super *s, pid_t pid, int status)
{
	struct side *all[WEBHOOKS_MAX + 1] = { &s->api };

	for (unsigned int i = 0; i < WEBHOOKS_MAX; i++)
		all[i + 1] = &s->hook[i];
	for (unsigned int i = 0; i <= WEBHOOKS_MAX; i++) {
		if (all[i]->pid != pid)
			continue;
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
			log_err("%s=%d was killed by signal %d; restarting it",
			        i ? "webhook" : "api", pid, WTERMSIG(status));
		all[i]->pid = 0;
		return true;
	}
	return false;
}

static void end(struct side *c)
{
	if (c->pid)
		kill(c->pid, SIGTERM);
	c->again_us = 0;
}

int super_reload(struct super *s, struct err *e)
{
	struct api_conf fresh;
	int r = settings_load(&fresh, s->conf.config, e);

	if (r < 0)
		return r;
	if (strcmp(fresh.socket, s->conf.socket))
		forget(&s->given.local_fd);
	if (fresh.port != s->conf.port || strcmp(fresh.bind, s->conf.bind))
		forget(&s->given.tls_fd);
	if (strcmp(fresh.state, s->conf.state))
		forget(&s->given.state_fd);
	s->conf = fresh;
	super_stop(s); /* new connections wait in the queues of the sockets meanwhile */
	return 0;
}

void super_forget(struct super *s)
{
	forget(&s->given.state_fd);
	forget(&s->given.local_fd);
	forget(&s->given.tls_fd);
	forget(&s->beat_fd);
}

void super_stop(struct super *s)
{
	end(&s->api);
	for (unsigned int i = 0; i < WEBHOOKS_MAX; i++)
		end(&s->hook[i]);
}
