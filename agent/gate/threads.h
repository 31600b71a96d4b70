/* SPDX-License-Identifier: GPL-2.0-or-later */
/* threads.h - what SWITCH says about threads: into the images, and onto the restored threads. */
#ifndef HAUL_WORKER_THREADS_H
#define HAUL_WORKER_THREADS_H

#include "common/err.h"

struct Haul__Switch;
struct wrk;

/** threads_fit() - images in @images_fd: interrupted system calls and timers. Return: 0; -errno */
int threads_fit(int images_fd, const struct Haul__Switch *s, struct err *e);
/** threads_set() - at the gate: give each thread its attributes. What cannot be set is logged */
void threads_set(const struct wrk *w, const struct Haul__Switch *s);
/** threads_set_later() - the tree runs: give its root what threads_set() could not */
void threads_set_later(const struct wrk *w);

#endif
