// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lag.c - how long the program is slower than it was, as its threads wait for pages.
 *
 * It is slow in a slot of time in which its threads together waited for a tenth of the slot or more.
 */
#include "engine/pager/priv.h"

#define SLOT_US   100000u
#define SLOW_PART 10u

void lag_begin(struct lag *l, uint64_t now)
{
	*l = (struct lag){ .began_us = now };
}

void lag_note(struct lag *l, uint64_t now, uint64_t waited_us)
{
	if (!l->began_us || now < l->began_us)
		return;
	uint64_t slot = (now - l->began_us) / SLOT_US;

	l->slot_us = slot == l->slot ? l->slot_us + waited_us : waited_us;
	l->slot = slot;
	l->waited_us += waited_us;
	if (l->slot_us >= SLOT_US / SLOW_PART)
		l->until_us = now;
}

uint64_t lag_us(const struct lag *l)
{
	return l->until_us ? l->until_us - l->began_us : 0;
}
