// SPDX-License-Identifier: GPL-2.0-or-later
/* job_status.c - the words for what became of a migration. */
#include "agent/api/jobs.h"

static const char *const status_names[JOB_NSTATUS] = {
	[JOB_QUEUED] = "queued",
	[JOB_RUNNING] = "running",
	[JOB_DONE] = "done",
	[JOB_FAILED] = "failed",
	[JOB_BLOCKED] = "blocked",
	[JOB_CANCELLED] = "cancelled",
	[JOB_UNRESOLVED] = "unresolved",
	[JOB_INTERRUPTED] = "interrupted",
};

const char *job_status_name(enum job_status s)
{
	return status_names[s];
}

bool job_over(const struct job *j)
{
	return j->status > JOB_RUNNING;
}
