/* SPDX-License-Identifier: GPL-2.0-or-later */
/* look.h - scan the pages of a stopped tree without re-arming anything; for tracker.c. */
#ifndef HAUL_LOOK_H
#define HAUL_LOOK_H

#include "engine/tracker/tracker.h"

/** look_tree() - see tracker_final() */
int look_tree(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
              struct err *e);

#endif
