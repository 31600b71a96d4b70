/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sockets.h - what SWITCH says about sockets, onto the sockets of the restored tree. */
#ifndef HAUL_WORKER_SOCKETS_H
#define HAUL_WORKER_SOCKETS_H

struct Haul__Switch;
struct wrk;

/** sockets_set() - at the gate: options, groups, closed connections. What cannot be set is logged */
void sockets_set(const struct wrk *w, const struct Haul__Switch *s);

#endif
