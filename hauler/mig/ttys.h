/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ttys.h - what waits in the terminals of the tree: taken when it has stopped, for SWITCH. */
#ifndef HAUL_MIG_TTYS_H
#define HAUL_MIG_TTYS_H

#include "common/err.h"

struct mig;
struct ttys;
struct Haul__Switch;

/** ttys_take() - the tree has stopped: m->copy.ttys, NULL: it has no terminal that moves. Return: 0; -errno */
int ttys_take(struct mig *m, struct err *e);
/** ttys_put() - undo: everything back */
void ttys_put(struct ttys *t);
/** ttys_switch() - SWITCH.terminal; ttys_switch_free() afterwards. @t: NULL: none. Return: 0; -errno */
int ttys_switch(const struct ttys *t, struct Haul__Switch *s, struct err *e);
void ttys_switch_free(struct Haul__Switch *s);
void ttys_free(struct ttys *t);

#endif
