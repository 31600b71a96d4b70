/* SPDX-License-Identifier: GPL-2.0-or-later */
/* save.h - an archive as the destination of a migration. */
#ifndef HAUL_HAULER_SAVE_H
#define HAUL_HAULER_SAVE_H

#include <stdbool.h>

#include "common/err.h"

struct mig;
struct save;

#define SAVE_PREFIX "archive:" /* of opts.dest, before the path */

/** save_path() - the path, if @dest is an archive; else NULL */
const char *save_path(const char *dest);
/**
 * save_begin() - open the archive of m->opt->dest, or make it; connections go to it from now on
 * Return: 0, also when the destination is a host; -errno
 */
int save_begin(struct mig *m, struct err *e);
/** save_attach() - for recovery: connections go to the archive of m->opt->dest, which only answers */
int save_attach(struct mig *m, struct err *e);
/** save_wait() - the tree is not needed any more: until its state is durable; then BYE */
int save_wait(struct mig *m, struct err *e);
/** save_go() - the tree runs on, or stays stopped: its state may become durable */
void save_go(struct save *s);
/** save_stop() - the save is given up. Return: false: too late, the state becomes durable. Takes NULL; from any thread */
bool save_stop(struct save *s);
/** save_figures() - of the state that is durable, for the report */
void save_figures(struct mig *m);
/** save_free() - after all channels to it are closed. Takes NULL */
void save_free(struct save *s);

#endif
