/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * super.h - the processes beside the daemon: one that serves HTTP, one for each webhook. The
 * daemon keeps their sockets and the lock on their folder, and starts them again when they
 * die, or say nothing any more.
 */
#ifndef HAUL_AGENT_SUPER_H
#define HAUL_AGENT_SUPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/api/api.h"

#define WEBHOOKS_MAX 8

/* ---- super.c ---- */

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
	bool warned, beaten; /* said why there is no API; it has served once */
	void (*child)(void *arg); /* called in each child first */
	void *arg;
};

/** sup_init() - nothing is started yet; @conf is copied */
void sup_init(struct super *s, const struct api_conf *conf, void (*child)(void *arg), void *arg);
/** sup_tick() - start what should run and does not; now and then */
void sup_tick(struct super *s);
/** sup_died() - Return: true when @pid was one of ours */
bool sup_died(struct super *s, pid_t pid, int status);
/** sup_reload() - read the configuration again. Return: 0; <0: it is wrong, the old one stays */
int sup_reload(struct super *s, struct err *e);
/** sup_forget() - in a child that has nothing to do with them: close what is theirs */
void sup_forget(struct super *s);
/** sup_stop() - end them */
void sup_stop(struct super *s);

/* ---- listen.c ---- */

/** listen_on() - TCP, dual-stack when there is that. Return: a descriptor, -errno */
int listen_on(const char *addr, unsigned int port, struct err *e);
/** listen_unix() - anybody may connect: who it is the kernel says */
int listen_unix(const char *path, struct err *e);

/* ---- unit.c: systemd ---- */

void unit_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** unit_watchdog_us() - how often it wants to hear WATCHDOG=1 at least; 0: not at all */
uint64_t unit_watchdog_us(void);
/** unit_socket() - that was passed under this name; -1 */
int unit_socket(const char *name);

#endif
