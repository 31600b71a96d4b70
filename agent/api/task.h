/* SPDX-License-Identifier: GPL-2.0-or-later */
/* task.h - a command whose output becomes an answer. */
#ifndef HAUL_AGENT_API_TASK_H
#define HAUL_AGENT_API_TASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/api/access.h"

struct api;
struct req;

struct task {
	struct task *next;
	struct req *q; /* NULL: the client has gone */
	struct who who; /* who asked: the limits are per user and token */
	pid_t pid;
	int fd, status;
	bool ended;
	char *out;
	size_t bytes;
	uint64_t deadline_us;
};

/**
 * task_start() - run @path with @argv and suspend the request until it ends
 * @then: answers the request; it finds the command in q->task
 * Return: enum MHD_Result
 */
int task_start(struct req *q, const char *path, const char *const *argv,
               int (*then)(struct req *q));
/** task_read() - take what the command has printed; does not block */
void task_read(struct task *t);
/** task_ended() - @pid was reaped; @status: its exit status, -1: killed by a signal */
void task_ended(struct api *a, pid_t pid, int status);
/** task_tick() - kill those that take too long; call now and then */
void task_tick(struct api *a);
/** task_abandon() - the client of @t has gone: end the command */
void task_abandon(struct task *t);
/** task_free() - @t has ended; forget it */
void task_free(struct api *a, struct task *t);
/** task_lines() - the JSON objects that it printed, one a line. Return: an array, the caller's */
json_t *task_lines(const struct task *t);

#endif
