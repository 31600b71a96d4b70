// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * arrive.c - hauld --arrive: one worker for a tree that a haul load of this host brings, and what the
 * daemon is for its workers: when worker and guardians have died the tree is killed.
 */
#include "agent/daemon/arrive.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "agent/daemon/daemon.h"
#include "agent/worker/answer.h"
#include "agent/worker/successor.h"
#include "agent/worker/worker.h"
#include "common/conf.h"
#include "common/log.h"

#define WORDS 6 /* hauld --arrive FD CONFIG CRIU ROUTE */

static int work(struct agent_conf *conf, struct guard *g, int ctl, uint64_t route)
{
	struct worker_start start = {
		.conf = conf, .guard = g, .succeed = successor_main, .undone = successor_undone
	};

	return worker_main(&start, ctl, route);
}

/* Until the worker and its guardians have ended. */
static void look_after(struct worker *w)
{
	struct pollfd p = { .fd = w->watch_fd };

	while (poll(&p, 1, -1) < 0 || !p.revents)
		;
	waitpid(w->pid, NULL, 0);
	daemon_hung_up(w);
}

static int begin(struct agent_conf *conf, int ctl, struct err *e)
{
	struct worker w = { .watch_fd = -1 };
	int watch[2];

	if (getrandom(&w.route, sizeof(w.route), 0) != sizeof(w.route) || w.route == 0 ||
	    guard_new(&w.guard, e) < 0 || pipe2(watch, O_CLOEXEC) < 0)
		return e->src ? err_code(e) : err_sys(e, "worker");
	w.pid = fork();
	if (w.pid == 0) {
		close(watch[0]);
		guard_keep(w.guard, guard_watched(watch[1]));
		_exit(work(conf, w.guard, ctl, w.route));
	}
	close(watch[1]);
	close(ctl);
	w.watch_fd = watch[0];
	if (w.pid < 0)
		return err_sys(e, "worker");
	look_after(&w);
	return 0;
}

int arrive_main(int argc, char **argv)
{
	static struct agent_conf conf;
	struct err e = ERR_INIT;

	if (argc != WORDS)
		return 2;
	int ctl = atoi(argv[2]);
	uint64_t route = strtoull(argv[5], NULL, 16);

	log_setup("hauld", getenv("HAUL_VERBOSE") ? LOG_INFO_ : LOG_WARN_);
	signal(SIGPIPE, SIG_IGN);
	conf.config = argv[3];
	conf.criu = argv[4][0] ? argv[4] : NULL;
	if (fcntl(ctl, F_SETFD, FD_CLOEXEC) < 0)
		return 2;
	if (route)
		return answer_main(NULL, ctl, route);
	if (conf_criu(conf.criu_path, sizeof(conf.criu_path), conf.criu, conf.config, &e) < 0 ||
	    begin(&conf, ctl, &e) < 0) {
		fprintf(stderr, "hauld: %s\n", e.msg);
		return 1;
	}
	return 0;
}
