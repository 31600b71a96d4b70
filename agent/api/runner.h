/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner.h - a migration in a process that outlives hauld. */
#ifndef HAUL_AGENT_API_RUNNER_H
#define HAUL_AGENT_API_RUNNER_H

#define RUNNER_NAME "hauld-runner"

/** runner_main() - RUNNER_NAME FOLDER: run the migration of that folder. Return: exit status */
int runner_main(int argc, char **argv);

#endif
