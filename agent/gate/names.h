/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.h - UNIX sockets of a tree that is not root's alone: CRIU restores them without their paths, and they are bound
 * at the gate with the rights of their users. CRIU would remove what has the path, bind and chown as root, by names.
 */
#ifndef HAUL_AGENT_NAMES_H
#define HAUL_AGENT_NAMES_H

#include "agent/mig/mig.h"

/** names_take() - out of the images, before CRIU runs; nothing for root's trees. Return: 0; -errno */
int names_take(struct wrk *w, struct err *e);
/**
 * names_bind() - CRIU has restored the tree, which does not run: bind, listen and connect
 * Each in a child that is the user, so no path leads to what is not theirs. No living name is replaced; a file that
 * nobody is bound to is moved aside.
 * @deadline_us: of now_us(). Return: 0; -errno: names_undo()
 */
int names_bind(struct wrk *w, uint64_t deadline_us, struct err *e);
/** names_undo() - remove the socket files and put back what was moved aside; also when nothing was done */
void names_undo(struct wrk *w);
/** names_keep() - the tree runs: remove what was moved aside */
void names_keep(struct wrk *w);
void names_free(struct wrk *w);

#endif
