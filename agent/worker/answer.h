/* SPDX-License-Identifier: GPL-2.0-or-later */
/* answer.h - answer for a migration whose worker is gone. */
#ifndef HAUL_AGENT_ANSWER_H
#define HAUL_AGENT_ANSWER_H

#include <stdint.h>

struct chan_server;

/** answer_main() - a process of its own: answer the source on @fd. Return: exit status */
int answer_main(const struct chan_server *server, int fd, uint64_t route);
/** answer_filled() - the worker and its guardians are dead, but every page is in place: record it */
void answer_filled(uint64_t route);

#endif
