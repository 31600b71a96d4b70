// SPDX-License-Identifier: GPL-2.0-or-later
/* main.c - hauld: the programs that it contains, and how the daemon starts. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/api/runner.h"
#include "agent/api/handlers/survey.h"
#include "agent/daemon/settings.h"
#include "agent/daemon/arrive.h"
#include "agent/daemon/daemon.h"
#include "agent/daemon/listen.h"
#include "agent/daemon/options.h"
#include "agent/daemon/systemd.h"
#include "agent/berth/spacekeeper.h"
#include "agent/files/place.h"
#include "common/local/door.h"
#include "agent/gate/tty.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/host/journal.h"
#include "common/log.h"
#include "engine/container/front.h"

#define JOURNAL_KEEP_S 604800

/* It listens nevertheless: the missing file may be made later. */
static void warn_useless(const struct agent_conf *c)
{
	if (access(c->criu_path, X_OK) < 0)
		fprintf(stderr,
		        "hauld: warning: no usable CRIU %s (%s): every migration will be refused\n",
		        c->criu_path, strerror(errno));
	if (access(c->authorized_keys, R_OK) < 0)
		fprintf(stderr,
		        "hauld: warning: no authorized keys %s (%s): every connection will be "
		        "refused\n",
		        c->authorized_keys, strerror(errno));
}

/* haul completes or undoes migrations from here whose haul was killed. */
static void recover_own(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 8);
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

	if (!slash)
		return;
	snprintf(slash + 1, 8, "haul");
	if (fork() != 0)
		return;
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(path, "haul", "recover", "--quiet", NULL);
	_exit(127);
}

static int set_up(struct daemon *d, struct err *e)
{
	sigset_t mask;
	int r = conf_criu(d->conf.criu_path, sizeof(d->conf.criu_path), d->conf.criu,
	                  d->conf.config, e);

	if (r < 0)
		return r;
	d->listen_fd = systemd_socket("haul-peers");
	if (d->listen_fd < 0)
		d->listen_fd = listen_on(d->conf.bind, d->conf.port, e);
	if (d->listen_fd < 0)
		return err_fix(e, "is a hauld running already? choose another --port, or a --bind "
		                  "that this host has");
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	d->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signal_fd < 0 ? err_sys(e, "signalfd") : 0;
}

static int failed(const struct err *e)
{
	fprintf(stderr, "hauld: %s\n", e->msg);
	if (e->fix[0])
		fprintf(stderr, "       %s\n", e->fix);
	return 1;
}

/* What earlier daemons and programs that were killed have left behind */
static void clean_up(void)
{
	journal_sweep(JOURNAL_DIR, JOURNAL_DEST, JOURNAL_KEEP_S);
	place_sweep();
	door_sweep();
	daemon_sweep(0);
	recover_own();
}

static void run(struct daemon *d, const struct api_conf *api)
{
	clean_up();
	super_init(&d->super, api, daemon_child, d);
	d->watchdog_us = systemd_watchdog_us();
	if (!strcmp(api->socket, "none"))
		systemd_notify("READY=1");
	daemon_serve(d);
	systemd_notify("STOPPING=1");
	super_stop(&d->super);
	log_info("hauld ends; %u migrations run on without it", d->n_workers);
}

static int daemon_main(int argc, char **argv)
{
	static struct daemon d;
	struct err e = ERR_INIT;
	struct options v;
	struct api_conf api;
	char print[128];
	int r = options_parse(&v, argc, argv);

	if (r >= 0)
		return r;
	d.conf = v.conf;
	d.verbose = v.verbose > 2 ? 2 : v.verbose;
	if (v.check)
		return settings_check(d.conf.config, d.conf.criu);
	log_setup("hauld", v.verbose ? (v.verbose > 1 ? LOG_DEBUG_ : LOG_INFO_) : LOG_WARN_);
	signal(SIGPIPE, SIG_IGN);
	if (chan_server_new(&d.server, d.conf.host_key, d.conf.authorized_keys, &e) < 0 ||
	    chan_server_fingerprint(d.server, print, sizeof(print), &e) < 0)
		return failed(&e);
	if (v.fingerprint) {
		puts(print);
		return 0;
	}
	if (settings_load(&api, d.conf.config, &e) < 0 || daemon_open(&d, &e) < 0 ||
	    set_up(&d, &e) < 0)
		return failed(&e);
	fprintf(stderr, "hauld: port %u, host key %s, CRIU %s\n", d.conf.port, print,
	        d.conf.criu_path);
	warn_useless(&d.conf);
	run(&d, &api);
	return 0;
}

/* hauld --hold-tty PID (agent/gate/tty.c) */
static int hold_tty(int argc, char **argv)
{
	return argc == 3 ? tty_main(argv[2]) : 2;
}

/* The programs of this executable, by their name or, for those that need it, their first word. */
static const struct program {
	const char *name, *word;
	int (*main)(int argc, char **argv);
} programs[] = {
	{ RUNNER_NAME, NULL, runner_main }, { SURVEY_NAME, NULL, survey_main },
	{ NULL, "--hold-tty", hold_tty },   { NULL, "--porter", porter_main },
	{ NULL, "--arrive", arrive_main },  { NULL, SPACEKEEPER_WORD, spacekeeper_main },
	{ NULL, NULL, daemon_main },
};

int main(int argc, char **argv)
{
	const struct program *p = programs;

	if (front_called(argv[0]))
		return front_main(argv);

	while ((p->name && strcmp(argv[0], p->name)) ||
	       (p->word && (argc < 2 || strcmp(argv[1], p->word))))
		p++;
	return p->main(argc, argv);
}
