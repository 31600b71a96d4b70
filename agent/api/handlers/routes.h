/* SPDX-License-Identifier: GPL-2.0-or-later */
/* routes.h - the table of what can be asked. */
#ifndef HAUL_AGENT_API_ROUTES_H
#define HAUL_AGENT_API_ROUTES_H

#include "agent/api/reply.h"

/* Ends with an empty one. */
extern const struct route routes[];

#endif
