/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ttyqueue.h - what waits in both directions of a pseudo-terminal whose processes are stopped. */
#ifndef HAUL_TTYQUEUE_H
#define HAUL_TTYQUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"

#define TTYQUEUE_BYTES 32768 /* of one direction; the kernel keeps fewer */

struct ttyqueue {
	uint8_t *input,
	        *output; /* input: for the slave to read, also a line that is not complete yet */
	size_t n_input, n_output;
};

/** ttyqueue_number() - of the terminal @master is an end of; -1: it is none */
int ttyqueue_number(int master);
/** ttyqueue_take() - take everything out of both queues. Return: 0; -errno: what was taken is in @q */
int ttyqueue_take(int master, int slave, struct ttyqueue *q);
/** ttyqueue_put() - into both queues, without echo. Return: 0; -errno: not all of it */
int ttyqueue_put(int master, int slave, const struct ttyqueue *q);
void ttyqueue_fini(struct ttyqueue *q);

#endif
