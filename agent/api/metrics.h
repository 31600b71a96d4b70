/* SPDX-License-Identifier: GPL-2.0-or-later */
/* metrics.h - figures for Prometheus. */
#ifndef HAUL_AGENT_API_METRICS_H
#define HAUL_AGENT_API_METRICS_H

#include <jansson.h>

struct api;
struct job;

/** metrics_event() - count @event of @j; borrowed */
void metrics_event(const struct job *j, json_t *event);
/** metrics_text() - Return: the caller's; NULL: no memory */
char *metrics_text(const struct api *a);

#endif
