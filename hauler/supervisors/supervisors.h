/* SPDX-License-Identifier: GPL-2.0-or-later */
/* supervisors.h - who looks after the tree here: a container's runtime, systemd, haul run. They are told what becomes of it. */
#ifndef HAUL_SUPERVISORS_H
#define HAUL_SUPERVISORS_H

#include "hauler/mig/mig.h"

/* ---- capture.c: a container; all of them do nothing for a tree that is none ---- */

/** capture_take() - while it runs: ask its runtime what it would tell CRIU */
int capture_take(struct mig *m, struct err *e);
struct Haul__Offer;
/** capture_findings() - what of a container cannot move, or is lost, as far as this host knows; nothing of another tree */
int capture_findings(struct mig *m, struct findings *out, struct err *e);
/** capture_offer() - name it in the offer, and say what of it cannot move. Return: 0; -errno */
int capture_offer(struct mig *m, struct Haul__Offer *o, struct findings *out, struct err *e);
/** capture_base() - put the runtime's request into @o */
void capture_base(const struct mig *m, struct criu_opts *o);
/** capture_land() - before the stop, once: have the runtime at the destination get ready */
int capture_land(struct mig *m, struct err *e);
/** capture_late() - it is stopped: send what has changed of its files since */
int capture_late(struct mig *m, struct err *e);
/** capture_guard() - it is stopped: its runtime refuses to start another one; not waited for */
int capture_guard(struct mig *m, struct err *e);
/** capture_back() - it is about to resume here */
void capture_back(const struct mig *m);
/** capture_over() - it runs there, with every page: the runtime here ends its stopped copy */
void capture_over(const struct mig *m);
void capture_free(struct capture *c);

/* ---- starter.c: the haul run or haul land that has started the tree ---- */

/** starter_hold() - before the stop: it passes no more input on. Return: 0, also when there is none */
int starter_hold(struct mig *m, struct err *e);
/** starter_given() - before COMMIT: the end of the copy here will be no end of the program */
int starter_given(struct mig *m, struct err *e);
/** starter_back() - the tree is about to resume here */
void starter_back(struct mig *m);
/** starter_forget() - close the connection */
void starter_forget(struct mig *m);

/* ---- unit.c: all of them do nothing for a tree that is no unit ---- */

/** unit_guard() - while it still runs: systemd is not to start another one */
int unit_guard(struct mig *m, struct err *e);
/** unit_disarm() - before the stop: no watchdog */
int unit_disarm(struct mig *m, struct err *e);
/** unit_away() - before COMMIT: it cannot be started here any more, nor by the next boot */
int unit_away(struct mig *m, struct err *e);
/** unit_back() - it runs here again: everything as it was */
void unit_back(struct mig *m);

#endif
