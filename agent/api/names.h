/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h - words of a request that become arguments of a command. */
#ifndef HAUL_AGENT_API_NAMES_H
#define HAUL_AGENT_API_NAMES_H

#include <stdbool.h>

/** names_host_ok() - could @s be a host? NULL is not */
bool names_host_ok(const char *s);
/** names_policy_ok() - could @s be a policy's name: letters, digits, - and _, at most 63? */
bool names_policy_ok(const char *s);

#endif
