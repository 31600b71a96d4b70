/* SPDX-License-Identifier: GPL-2.0-or-later */
/* groups.h - multicast groups of a socket, and the interface by which it sends to groups. */
#ifndef HAUL_ENGINE_GROUPS_H
#define HAUL_ENGINE_GROUPS_H

#include "engine/net/sockopts.h"

/** groups_read() - fill o->group and o->iface from the socket @fd of this network namespace */
void groups_read(int fd, struct sockopts *o);
/** groups_write() - join them with @fd; what fails is logged in the name of @who */
void groups_write(int fd, const struct sockopts *o, const char *who);

#endif
