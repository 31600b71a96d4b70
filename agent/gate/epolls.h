/* SPDX-License-Identifier: GPL-2.0-or-later */
/* epolls.h - fill epoll sets that CRIU has restored empty. */
#ifndef HAUL_WORKER_EPOLLS_H
#define HAUL_WORKER_EPOLLS_H

#include <stddef.h>

#include "common/err.h"

struct img_epoll;

/** epolls_fill() - at the gate: what img_take_epolls() has taken. Return: 0; -errno: the restore has failed */
int epolls_fill(const struct img_epoll *v, size_t n, struct err *e);

#endif
