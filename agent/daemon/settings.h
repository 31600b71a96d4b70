/* SPDX-License-Identifier: GPL-2.0-or-later */
/* settings.h - the part of haul.conf that concerns hauld. */
#ifndef HAUL_AGENT_DAEMON_SETTINGS_H
#define HAUL_AGENT_DAEMON_SETTINGS_H

#include "agent/api/conf.h"
#include "common/err.h"

/** settings_load() - from @path, with defaults. Return: 0; -errno, @e names the line at fault */
int settings_load(struct api_conf *c, const char *path, struct err *e);
/** settings_check() - print every fault. Return: exit status */
int settings_check(const char *path, const char *criu_option);

#endif
