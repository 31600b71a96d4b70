/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tty.h - a terminal for a process that had one. */
#ifndef HAUL_AGENT_TTY_H
#define HAUL_AGENT_TTY_H

#include <sys/types.h>

#include "common/err.h"

/**
 * tty_open() - open a terminal, and start a process that holds its other end while it is in use
 * @pid: of the process that will have it; names its door
 */
int tty_open(pid_t pid, int *slave, struct err *e);
/** tty_main() - main function of that process, hauld --hold-tty PID. Return: exit status */
int tty_main(const char *pid);

#endif
