/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * api.h - the HTTP side of hauld: one process, one thread, one loop. hauld forks it, and
 * forks it again when it dies; each migration has a runner (runner.c) that needs neither of
 * them. docs/API.md is the specification.
 */
#ifndef HAUL_AGENT_API_API_H
#define HAUL_AGENT_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/api/conf.h"
#include "common/err.h"

#define API_CONNECTIONS 1000

struct MHD_Daemon;
struct job;
struct task;
struct feed;
struct route;

struct api {
	const struct api_conf *conf;
	const struct route *routes;
	struct MHD_Daemon *local, *tls;
	int signal_fd, inotify_fd, state_fd, all_fd, beat_fd;
	char haul[4096]; /* the command beside this hauld */
	struct job **job; /* oldest first */
	size_t n_jobs;
	uint64_t next_seq;
	struct task *task;
	struct feed *feed;
	bool stop;
};

/**
 * api_main() - serve HTTP until SIGTERM; runs in a process of its own
 * @routes: what can be asked; ends with an empty one
 * Return: exit status
 */
int api_main(const struct api_conf *conf, const struct api_given *given,
             const struct route *routes);

/**
 * api_check_tls() - do the certificate and the key of @conf belong together?
 * Return: 0; -EINVAL with the files' names and the reason in @e
 */
int api_check_tls(const struct api_conf *conf, struct err *e);

#endif
