/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * launch.h - haul run and haul land: a program that may move, for whoever starts commands. Two processes:
 * the front is what the caller has started: it passes signals and streams on, and ends as the program
 * does. The holder is the program's parent. It speaks to those that move it, and outlives the front
 * when the program is parked.
 */
#ifndef HAUL_LAUNCH_H
#define HAUL_LAUNCH_H

#include "hauler/mig/mig.h"

#define LAUNCH_HOSTS_MAX  64
#define LAUNCH_HOST_BYTES 256

struct launch {
	const struct opts *opt;
	char *const *argv; /* the program; NULL: land */
	char host[LAUNCH_HOSTS_MAX][LAUNCH_HOST_BYTES]; /* where to look for who has landed */
	size_t n_hosts;
};

/**
 * launch_main() - run the program, or wait until one lands, and then until it ends or is away
 * Does not return when the program was ended by a signal: then this process ends by it, too
 * Return: exit status
 */
int launch_main(const struct launch *l, struct err *e);

#endif
