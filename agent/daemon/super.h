/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * super.h - the processes beside the daemon: one that serves HTTP, one for each webhook. The
 * daemon keeps their sockets and the lock on their folder, and restarts a process that died
 * or shows no sign of life.
 */
#ifndef HAUL_AGENT_DAEMON_SUPER_H
#define HAUL_AGENT_DAEMON_SUPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/api/conf.h"
#include "common/err.h"

#define WEBHOOKS_MAX 8

struct side {
	pid_t pid; /* 0: to be started at again_us */
	uint64_t again_us;
};

struct super {
	struct api_conf conf;
	struct api_given given; /* descriptors for the API process; -1: not yet */
	struct side api, hook[WEBHOOKS_MAX];
	int beat_fd; /* the API process writes to it while it is well */
	uint64_t beat_us;
	bool warned, beaten; /* the missing API was reported; the API has served once */
	void (*child)(void *arg); /* called in each child first */
	void *arg;
};

/** super_init() - nothing is started yet; @conf is copied */
void super_init(struct super *s, const struct api_conf *conf, void (*child)(void *arg), void *arg);
/** super_tick() - start the processes that should run and do not; call now and then */
void super_tick(struct super *s);
/** super_died() - Return: true when @pid was one of ours */
bool super_died(struct super *s, pid_t pid, int status);
/** super_reload() - read the configuration again. Return: 0; <0: it is wrong, the old one stays */
int super_reload(struct super *s, struct err *e);
/** super_forget() - in a child that does not need them: close the descriptors */
void super_forget(struct super *s);
/** super_stop() - tell all processes to end */
void super_stop(struct super *s);

#endif
