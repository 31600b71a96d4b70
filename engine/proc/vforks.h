/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vforks.h - threads that wait in vfork(2). */
#ifndef HAUL_VFORKS_H
#define HAUL_VFORKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * vforks_wait() - until no thread of the processes @pid waits in vfork(2) any more
 * Return: 0; at @deadline_us the number of a thread that does
 */
pid_t vforks_wait(const pid_t *pid, size_t n, uint64_t deadline_us);

#endif
