/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scans.h - answering CRIU's page scans (used by criu.c and the hauler). */
#ifndef HAUL_SCANS_H
#define HAUL_SCANS_H

#include "engine/engine.h"

struct scans;

/**
 * scans_fn - will haul bring all pages of [start, end) of @pid itself?
 * Called from the supervisor's thread, while CRIU waits.
 */
typedef bool (*scans_fn)(void *arg, pid_t pid, uint64_t start, uint64_t end);

/** scans_install() - in the child before exec. Return: the listener; -1 */
int scans_install(void);
/** scans_start() - @listener is taken; the thread ends when CRIU does */
int scans_start(struct scans **out, int listener, scans_fn fn, void *arg, struct err *e);
void scans_free(struct scans *s);

#endif
