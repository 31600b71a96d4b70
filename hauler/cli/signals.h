/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals.h - Ctrl-C and the like stop a migration. */
#ifndef HAUL_SIGNALS_H
#define HAUL_SIGNALS_H

struct mig;

/**
 * signals_catch() - from now on SIGINT, SIGTERM and SIGHUP call run_stop()
 * @now: the migration to stop; borrowed for good. *@now may change; NULL: there is none at the
 * moment, and a signal does nothing
 */
void signals_catch(struct mig *const *now);

#endif
