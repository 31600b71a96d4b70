/* SPDX-License-Identifier: GPL-2.0-or-later */
/* huge.h - huge pages again, for memory that asks for them. */
#ifndef HAUL_AGENT_HUGE_H
#define HAUL_AGENT_HUGE_H

#include "agent/mig/mig.h"

/** huge_again() - when all pages are in place: collapse memory that asks for huge pages */
void huge_again(struct wrk *w);

#endif
