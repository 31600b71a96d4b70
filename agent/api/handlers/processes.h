/* SPDX-License-Identifier: GPL-2.0-or-later */
/* processes.h - processes of this host, and what can be asked about them. */
#ifndef HAUL_AGENT_API_PROCESSES_H
#define HAUL_AGENT_API_PROCESSES_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct req;

struct process {
	pid_t pid, ppid;
	uid_t uid;
	char comm[32];
	long long threads, start, rss_pages;
	bool kernel;
};

/**
 * process_of_body() - the process that "pid" of @body names, if the caller may touch it
 * Return: true; false after a problem was answered, whose result is in @r
 */
bool process_of_body(struct req *q, json_t *body, struct process *p, int *r);

/* ---- handlers ---- */

/**
 * processes_get() - the processes that the caller may see. Return: 0; -errno when no answer could
 * be made
 */
int processes_get(struct req *q);
/** processes_check() - `haul check` of one process; the request waits until it ends */
int processes_check(struct req *q);
/** processes_peers() - the hosts that are trusted, and whether the process would fit there */
int processes_peers(struct req *q);

#endif
