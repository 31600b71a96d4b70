// SPDX-License-Identifier: GPL-2.0-or-later
/* refuse.c - tell the other host why a connection ends. */
#include "agent/mig/refuse.h"

#include "common/clock.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"
#include "transport/transport.h"

#define SAY_LIMIT_MS 10000

void refuse_peer(struct chan *ch, const struct err *why)
{
	Haul__Abort a = HAUL__ABORT__INIT;
	struct err ignore = ERR_INIT;

	a.code = (uint32_t)why->code;
	a.source = (char *)err_src_name(why->src);
	a.reason = (char *)why->msg;
	a.remedy = (char *)why->fix;
	wire_say(ch, HAUL__MSG__BODY_ABORT, &a, deadline_in_ms(SAY_LIMIT_MS), &ignore);
}
