/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recheck.h - what has changed of a tree between the inspection and the commit. */
#ifndef HAUL_RECHECK_H
#define HAUL_RECHECK_H

#include "hauler/mig/mig.h"

/* ---- opened.c ---- */

/** opened_note() - before the inspection: note what the tree holds */
int opened_note(struct mig *m, struct err *e);
/**
 * opened_check() - the tree is dumped: does it hold files that were never offered?
 * Return: 0; -ESTALE: it does: undo, and look again
 */
int opened_check(struct mig *m, struct err *e);
void opened_free(struct opened *o);

/* ---- signals.c ---- */

/** signals_note() - the tree has stopped: note the signals that are pending now */
int signals_note(struct mig *m, struct err *e);
/**
 * signals_check() - before COMMIT
 * Return: 0; -EINTR: a process was killed since, or got a signal that the images do not have: undo
 */
int signals_check(const struct mig *m, struct err *e);
/** signals_late() - before the stopped copy is killed: say which signals came after COMMIT */
void signals_late(const struct mig *m);
void signals_free(struct signals *s);

#endif
