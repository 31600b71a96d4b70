/* SPDX-License-Identifier: GPL-2.0-or-later */
/* http.h - the command speaks to a hauld: the local one, or one elsewhere by --agent=URL. */
#ifndef HAUL_HAULER_AGENT_H
#define HAUL_HAULER_AGENT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/err.h"
#include "hauler/mig/mig.h"

struct agent;

/**
 * cli_http_open() - the hauld that @o names
 * Return: 0; -ENOENT: there is none, or it is not wanted; else wrong options
 */
int cli_http_open(struct agent **out, const struct opts *o, struct err *e);
/** cli_http_close() - end the connection; @a is freed, NULL is allowed */
void cli_http_close(struct agent *a);

/**
 * cli_http_ask() - one request
 * @key:    Idempotency-Key, NULL
 * @body:   taken; NULL: none
 * @answer: out: a JSON object
 * Return: 0; -ECONNREFUSED no hauld listens; else hauld's reason
 */
int cli_http_ask(struct agent *a, const char *method, const char *path, const char *key,
                 json_t *body, json_t **answer, struct err *e);

/** @event: borrowed. Return: false when that was the last one */
typedef bool agent_heard(void *arg, json_t *event);

/**
 * cli_http_follow() - events of @path until the last one, even if hauld is restarted meanwhile
 * @stop: checked now and then; when it becomes true: -ECANCELED, call again to continue
 * @at:   in and out: position in the events; 0 at first
 */
int cli_http_follow(struct agent *a, const char *path, uint64_t *at, agent_heard *heard, void *arg,
                    const volatile int *stop, struct err *e);

#endif
