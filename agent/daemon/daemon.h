/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon.h - the process that listens for peers. */
#ifndef HAUL_AGENT_DAEMON_DAEMON_H
#define HAUL_AGENT_DAEMON_DAEMON_H

#include "agent/daemon/super.h"
#include "agent/mig/mig.h"
#include "agent/porter/arrivals.h"
#include "agent/porter/porter.h"

#define WORKERS_MAX 256

struct worker {
	pid_t pid;
	uint64_t route;
	int watch_fd; /* hangs up when the worker and its guardians are dead */
	struct guard *guard;
};

struct daemon {
	struct agent_conf conf;
	struct super super;
	uint64_t watchdog_us; /* how often; 0: no watchdog */
	struct chan_server *server;
	struct gate gate;
	struct porter porter;
	struct arrivals arrivals;
	int verbose;
	int listen_fd, signal_fd, spare_fd;
	struct worker worker[WORKERS_MAX];
	unsigned int n_workers;
	uint64_t rest_us, told_us; /* no descriptors: accept again then; when it was logged */
	bool stop;
};

/** daemon_open() - make ready; d->server is there. Return: 0; -errno */
int daemon_open(struct daemon *d, struct err *e);
/** daemon_serve() - accept peers until SIGTERM */
void daemon_serve(struct daemon *d);
/** daemon_child() - super's child function: close what is the daemon's; @arg: struct daemon */
void daemon_child(void *arg);
/** daemon_hung_up() - @w and its guardians have ended: what is left of its tree is killed */
void daemon_hung_up(struct worker *w);
/** daemon_sweep() - remove staged directories of the dead worker of @route; 0: of all dead ones */
void daemon_sweep(uint64_t route);

#endif
