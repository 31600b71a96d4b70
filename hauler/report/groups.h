/* SPDX-License-Identifier: GPL-2.0-or-later */
/* groups.h - findings for people: one line for each kind. */
#ifndef HAUL_GROUPS_H
#define HAUL_GROUPS_H

#include <jansson.h>
#include <stdbool.h>

/** groups_add() - note the event @o, a finding. @all: a line of its own, whatever there is of its kind */
void groups_add(json_t *o, bool all);
/** groups_print() - print what was noted: notes, warnings, then what stands in the way */
void groups_print(void);

#endif
