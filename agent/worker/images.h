/* SPDX-License-Identifier: GPL-2.0-or-later */
/* images.h - CRIU's images of the source, as they arrive. */
#ifndef HAUL_AGENT_WORKER_IMAGES_H
#define HAUL_AGENT_WORKER_IMAGES_H

struct err;
struct wrk;
struct Haul__Images;

/** images_take() - save images of the source, which arrive before SWITCH. Return: 0; -EBADMSG, -EFBIG; -errno */
int images_take(struct wrk *w, const struct Haul__Images *m, struct err *e);

#endif
