/* SPDX-License-Identifier: GPL-2.0-or-later */
/* eventfds.h - counts of eventfds of more than 32 bits. */
#ifndef HAUL_AGENT_EVENTFDS_H
#define HAUL_AGENT_EVENTFDS_H

#include "agent/mig/mig.h"

/** eventfds_expect() - is there one? The images are not searched for nothing */
void eventfds_expect(bool any);
/** eventfds_set() - at the gate: CRIU has restored the lower half of each count. What cannot be set is logged */
void eventfds_set(const struct wrk *w);

#endif
