/* SPDX-License-Identifier: GPL-2.0-or-later */
/* feed.h - server-sent events. */
#ifndef HAUL_AGENT_API_FEED_H
#define HAUL_AGENT_API_FEED_H

#include <stdbool.h>

struct api;
struct job;
struct req;

/** feed_start() - answer with the events of @j; NULL: of all. Return: enum MHD_Result */
int feed_start(struct req *q, struct job *j);
/** feed_wake() - @written: there are new events; else send heartbeats that are due */
void feed_wake(struct api *a, bool written);

#endif
