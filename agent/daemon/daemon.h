/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon.h - the process that listens for peers. */
#ifndef HAUL_AGENT_DAEMON_DAEMON_H
#define HAUL_AGENT_DAEMON_DAEMON_H

#include "agent/daemon/super.h"
#include "agent/mig/mig.h"

#define PENDING_MAX   128
#define STRANGERS_MAX 128 /* workers whose source has not shown a key; beside WORKERS_MAX */
#define WORKERS_MAX   256

/* Where a connection comes from: an IPv4 address, or an IPv6 network of 64 bits */
struct origin {
	uint8_t bytes[16];
};

struct pending {
	int fd;
	struct origin from;
	uint64_t deadline_us;
	size_t got;
	uint8_t buf[TR_PREAMBLE_BYTES];
};

struct worker {
	pid_t pid;
	uint64_t route, since_us;
	int watch_fd; /* hangs up when the worker and its guardians are dead */
	struct guard *guard;
	struct origin from;
	bool ended; /* its guardians may live on */
	bool sent_away; /* killed as a stranger; not reaped yet */
};

struct daemon {
	struct agent_conf conf;
	struct super super;
	uint64_t watchdog_us; /* how often; 0: no watchdog */
	struct chan_server *server;
	int listen_fd, signal_fd;
	struct pending pending[PENDING_MAX];
	unsigned int n_pending;
	struct worker worker[WORKERS_MAX + STRANGERS_MAX];
	unsigned int n_workers;
	uint64_t rest_us, told_us; /* no descriptors: accept again then; when it was logged */
	bool stop;
};

/** daemon_serve() - accept peers until SIGTERM */
void daemon_serve(struct daemon *d);
/** daemon_child() - super's child function: close what is the daemon's; @arg: struct daemon */
void daemon_child(void *arg);
/** daemon_sweep() - remove staged directories of the dead worker of @route; 0: of all dead ones */
void daemon_sweep(uint64_t route);

#endif
