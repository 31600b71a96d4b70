/* SPDX-License-Identifier: GPL-2.0-or-later */
/* report.h - tell the user what happens, as lines or as JSON events. */
#ifndef HAUL_HAULER_REPORT_H
#define HAUL_HAULER_REPORT_H

#include "hauler/files/needs.h"
#include "hauler/mig/mig.h"

/** report_state() - @m has entered a state */
void report_state(const struct mig *m);
/** report_freeze_mode() - which freeze_mode() will be used, and how writes are tracked */
void report_freeze_mode(const struct mig *m);
/** report_round() - a round has ended, and what was decided */
void report_round(const struct mig *m);
/** report_throttle() - the program is slowed down, or slowed down more */
void report_throttle(const struct mig *m);
/** report_running() - the program runs at the destination, for the first time */
void report_running(const struct mig *m);
/** report_progress() - at most twice a second, unless @force */
void report_progress(const struct mig *m, bool force);
/** report_end() - the last event, with all figures */
void report_end(const struct mig *m);
/** report_waiting() - the link is lost, haul tries to reconnect */
void report_waiting(const struct mig *m, const struct err *e);
/** report_findings() - one line for each kind, before the next event; @all: a line for each finding */
void report_findings(const struct findings *f, bool json, bool all);
/** report_needs() - files and what the destination has of them; @all: also those that are the same */
void report_needs(const struct needs *n, bool json, bool all);
/** report_error() - why haul ends, with the remedy if there is one */
void report_error(const struct err *e, bool json);

#endif
