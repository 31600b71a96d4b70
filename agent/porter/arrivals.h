/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arrivals.h - connections until they have said their preamble: in hauld, without a process for them. */
#ifndef HAUL_AGENT_PORTER_ARRIVALS_H
#define HAUL_AGENT_PORTER_ARRIVALS_H

#include <poll.h>

#include "agent/porter/crowd.h"
#include "transport/gate.h"

#define ARRIVALS_MAX CROWD_MAX

struct arrival {
	int fd;
	uint8_t challenge[PREAMBLE_CHALLENGE_BYTES], said[PREAMBLE_BYTES];
	size_t got;
};

struct arrivals {
	const struct gate *gate;
	struct arrival v[ARRIVALS_MAX];
	struct crowd_one who[ARRIVALS_MAX];
	struct crowd_known known;
	unsigned int n;
	/* a connection that may log in or enter; @fd is the callee's, nonblocking */
	void (*take)(void *arg, int fd, const struct preamble *p, const struct crowd_one *who);
	/* there are too many: one of them, or a new one, goes */
	void (*crowded)(void *arg);
	void *arg;
};

/** arrivals_add() - @fd: of a connection, nonblocking, taken in every case: greeted, or refused */
void arrivals_add(struct arrivals *a, int fd);
/** arrivals_poll() - Return: how many of @p, at most ARRIVALS_MAX, were filled for poll() */
unsigned int arrivals_poll(const struct arrivals *a, struct pollfd *p);
/** arrivals_step() - after poll() of those @n; calls take(); ends those that are late */
void arrivals_step(struct arrivals *a, const struct pollfd *p, unsigned int n);
/** arrivals_forget() - in a child: close all but @keep (-1: all) */
void arrivals_forget(struct arrivals *a, int keep);

#endif
