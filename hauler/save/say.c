// SPDX-License-Identifier: GPL-2.0-or-later
/* say.c - what the archive says on the control connection. */
#include "hauler/save/priv.h"

#include "common/clock.h"

#define SAY_LIMIT_MS 60000

int save_say(struct save *s, int kind, const void *body, struct err *e)
{
	return wire_say(s->ctl, kind, body, deadline_in_ms(SAY_LIMIT_MS), e);
}
