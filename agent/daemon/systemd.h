/* SPDX-License-Identifier: GPL-2.0-or-later */
/* systemd.h - the manager's side of a service: messages to it, sockets from it. */
#ifndef HAUL_AGENT_DAEMON_SYSTEMD_H
#define HAUL_AGENT_DAEMON_SYSTEMD_H

#include <stdint.h>

/** systemd_notify() - lines such as READY=1; does nothing without systemd */
void systemd_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** systemd_watchdog_us() - longest time between two WATCHDOG=1; 0: no watchdog */
uint64_t systemd_watchdog_us(void);
/** systemd_socket() - the socket that was passed under this name. Return: a descriptor, -1: none */
int systemd_socket(const char *name);

#endif
