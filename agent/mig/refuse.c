// SPDX-License-Identifier: GPL-2.0-or-later
/* refuse.c - the other host hears why. */
#include "agent/mig/mig.h"
#include "common/clock.h"
#include "transport/haul.pb-c.h"

#define SAY_LIMIT_MS 10000

void agt_refuse(struct chan *ch, const struct err *why)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Abort a = HAUL__ABORT__INIT;
	struct err ignore = ERR_INIT;

	a.code = (uint32_t)why->code;
	a.source = (char *)err_src_name(why->src);
	a.reason = (char *)why->msg;
	a.remedy = (char *)why->fix;
	msg.body_case = HAUL__MSG__BODY_ABORT;
	msg.abort = &a;
	wire_send(ch, &msg, deadline_in_ms(SAY_LIMIT_MS), &ignore);
}
