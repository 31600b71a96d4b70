// SPDX-License-Identifier: GPL-2.0-or-later
/* parts.c - a step made of many parts: run them in order, and name the one that failed. */
#include "hauler/run/priv.h"

#include "common/clock.h"
#include "common/log.h"

int parts_run(struct mig *m, const struct part *parts, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t t0 = now_us();

		if (parts[i].run(m, e) < 0) {
			talk_reason(m, e);
			err_wrap(e, "%s", parts[i].name);
			return -e->code;
		}
		log_debug("part=\"%s\" us=%llu", parts[i].name,
		          (unsigned long long)(now_us() - t0));
	}
	return 0;
}
