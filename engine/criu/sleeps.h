/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sleeps.h - how long the interrupted system calls of a stopped process still had to wait. */
#ifndef HAUL_SLEEPS_H
#define HAUL_SLEEPS_H

#include <stddef.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/images/img.h"

struct sleeps;

/** sleeps_new() - before anything is stopped. Return: 0; -ENOTSUP: no BPF iterator (kernel 6.1 with BTF) */
int sleeps_new(struct sleeps **out, struct err *e);
/**
 * sleeps_read() - of each thread of @pid, which is stopped, and has run no other system call since
 * The kernel keeps the time for the latest such call only, and forgets whether that is the present
 * one: the number of the call is in the images.
 * @out: the caller's, with @n entries
 * Return: 0; -errno
 */
int sleeps_read(const struct sleeps *s, pid_t pid, struct img_left **out, size_t *n, struct err *e);
void sleeps_free(struct sleeps *s);
DEFINE_AUTO(sleeps, sleeps_free)

#endif
