/* SPDX-License-Identifier: GPL-2.0-or-later */
/* jobs.h - the registry of migrations. */
#ifndef HAUL_AGENT_API_JOBS_H
#define HAUL_AGENT_API_JOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define JOB_ID_BYTES 17 /* 16 hexadecimal digits and the end */

struct api;

/* ---- job_status.c ---- */

enum job_status {
	JOB_QUEUED,
	JOB_RUNNING,
	JOB_DONE,
	JOB_FAILED,
	JOB_BLOCKED,
	JOB_CANCELLED,
	JOB_UNRESOLVED, /* handed over, outcome unknown */
	JOB_INTERRUPTED, /* its runner was killed */
	JOB_NSTATUS
};

struct job {
	char id[JOB_ID_BYTES];
	uint64_t seq;
	enum job_status status;
	pid_t pid;
	uid_t uid; /* the process's owner */
	uid_t by_uid; /* by_user: the user who asked */
	bool by_user; /* asked for by a user other than root: it never goes before others */
	int priority; /* of a user: among the user's own */
	bool cancelling;
	unsigned int readers; /* of its events: it must stay */
	pid_t runner; /* started by this process; 0 once it holds its lock */
	uint64_t pos; /* bytes of its events that were read */
	json_t *spec; /* job.json */
	json_t *view; /* what GET shows */
};

/** job_status_name() - of the API: "running", "done", ... */
const char *job_status_name(enum job_status s);
/** job_over() - has it ended, in whichever way? */
bool job_over(const struct job *j);

/* ---- jobs.c ---- */

/** jobs_load() - all that are in the state folder */
int jobs_load(struct api *a, struct err *e);
/** jobs_new() - @spec: taken. Return: the registry's; NULL with @e */
struct job *jobs_new(struct api *a, json_t *spec, struct err *e);
/** jobs_find() - Return: the registry's; NULL when there is none */
struct job *jobs_find(struct api *a, const char *id);
/** jobs_cancel() - Return: 0; -EALREADY: it is over */
int jobs_cancel(struct api *a, struct job *j, struct err *e);
/** jobs_resolved() - the operator has decided; @kept: the process runs on here */
void jobs_resolved(struct api *a, struct job *j, bool kept);
/** jobs_follow() - read what the runners have written since */
void jobs_follow(struct api *a);
/** jobs_schedule() - start the migrations whose turn it is; notice runners that died */
void jobs_schedule(struct api *a);
/** jobs_prune() - forget the oldest that are over, when there are too many */
void jobs_prune(struct api *a);
/** job_open() - a file of @j's folder. Return: a descriptor, -1 with errno */
int job_open(const struct api *a, const struct job *j, const char *name, int flags);

#endif
