// SPDX-License-Identifier: GPL-2.0-or-later
/* t-pager-lag.c - the degraded time: the last wait after which threads still waited for a tenth of the time. */
#include "checks.h"
#include "engine/pager/priv.h"

#define BEGIN 5000000u

int main(void)
{
	struct lag l = { 0 };

	lag_note(&l, BEGIN - 10, 90000);
	CHECK(lag_us(&l) == 0 && l.waited_us == 0, "what the restorer waits for does not count");
	lag_begin(&l, BEGIN);
	CHECK(lag_us(&l) == 0);
	/* ten waits of 2 ms in one tenth of a second: slow since the fifth */
	for (unsigned int i = 1; i <= 10; i++)
		lag_note(&l, BEGIN + i * 9000, 2000);
	CHECK(lag_us(&l) == 90000 && l.waited_us == 20000);
	/* one in each slot: not slow */
	for (unsigned int i = 2; i <= 20; i++)
		lag_note(&l, BEGIN + i * 100000, 2000);
	CHECK(lag_us(&l) == 90000 && l.waited_us == 58000);
	/* a stall that is longer than a slot */
	lag_note(&l, BEGIN + 9000000, 5000000);
	CHECK(lag_us(&l) == 9000000, "%llu us", (unsigned long long)lag_us(&l));
	return checks_end();
}
