/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * porter.h - the process that logs in those who have not shown a key yet: hauld's side of it. It asks
 * hauld whether a key is authorized, and gets a ticket for its guest.
 */
#ifndef HAUL_AGENT_PORTER_PORTER_H
#define HAUL_AGENT_PORTER_PORTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/porter/crowd.h"
#include "transport/gate.h"

struct porter {
	pid_t pid; /* 0: to be started at again_us */
	int fd; /* -1: there is none */
	uint64_t again_us;
	int verbose;
};

/** porter_tick() - start it when there is none; call now and then */
void porter_tick(struct porter *p);
/** porter_died() - Return: true when @pid was it */
bool porter_died(struct porter *p, pid_t pid, int status);
/**
 * porter_pass() - hand over a guest; does not block
 * @fd: stays the caller's
 * Return: 0; -errno: the porter cannot take it now
 */
int porter_pass(struct porter *p, int fd, const struct crowd_one *who);
/** porter_answer() - answer its questions, when p->fd is readable */
void porter_answer(struct porter *p, const struct gate *g);
/** porter_forget() - in a child of hauld: close what is hauld's */
void porter_forget(struct porter *p);

/** porter_main() - hauld --porter LEVEL: the process itself (guests.c). Return: exit status */
int porter_main(int argc, char **argv);

#endif
