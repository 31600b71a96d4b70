/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arguments.h - the command line of haul that a request to move or check a process becomes. */
#ifndef HAUL_AGENT_ARGUMENTS_H
#define HAUL_AGENT_ARGUMENTS_H

#include <jansson.h>
#include <sys/types.h>

#include "common/err.h"

struct req;

/**
 * arguments_of() - check what @body asks for and make a command line of it
 * @command: "check", or NULL: a move, which needs a destination
 * Return: an array of strings for the caller to free; NULL with @e: EPERM the caller of the API
 * may not ask for this, else a value is wrong
 */
json_t *arguments_of(struct req *q, json_t *body, const char *command, pid_t pid, struct err *e);

#endif
