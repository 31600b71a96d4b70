// SPDX-License-Identifier: GPL-2.0-or-later
/* signals.c - a thread that waits for Ctrl-C and the like and stops the migration. */
#include "hauler/cli/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "hauler/run/run.h"

static void *signal_main(void *arg)
{
	struct mig *const *now = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	for (;;) {
		int sig = 0;

		if (sigwait(&set, &sig))
			continue;
		struct mig *m = __atomic_load_n(now, __ATOMIC_ACQUIRE);

		if (!m || run_stop(m))
			continue;
		if (m->kept)
			fputs("\nhaul: the state is being written to the disk; the process is not "
			      "stopped for that\n",
			      stderr);
		else
			fputs("\nhaul: past the point of no return: the process belongs to the "
			      "destination; waiting for the rest. When the link is lost, Ctrl-C "
			      "stops the waiting\n",
			      stderr);
	}
	return NULL;
}

void signals_catch(struct mig *const *now)
{
	sigset_t set;
	pthread_t t;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_create(&t, NULL, signal_main, (void *)now) == 0)
		pthread_detach(t);
}
