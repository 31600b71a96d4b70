/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relinks.h - files that have lost the name by which they were opened, but have another one: they get that name
 * for the dump, for CRIU takes them for files without a name otherwise; in the images they get the other one.
 */
#ifndef HAUL_FILES_RELINKS_H
#define HAUL_FILES_RELINKS_H

#include "common/err.h"

struct mig;

/** relinks_make() - before the stop. Return: 0; -errno */
int relinks_make(struct mig *m, struct err *e);
/** relinks_drop() - the tree is dumped, or undo; also when nothing was made */
int relinks_drop(struct mig *m, struct err *e);

#endif
