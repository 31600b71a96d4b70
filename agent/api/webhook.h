/* SPDX-License-Identifier: GPL-2.0-or-later */
/* webhook.h - a URL that is told of events. */
#ifndef HAUL_AGENT_API_WEBHOOK_H
#define HAUL_AGENT_API_WEBHOOK_H

struct api_conf;

/* The events that are posted unless webhook-events = all; docs/API.md lists them. NULL ends it. */
extern const char *const webhook_main_events[];

/** webhook_main() - in a process of its own, until SIGTERM. Return: exit status */
int webhook_main(const struct api_conf *conf, int state_fd, const char *url);

#endif
