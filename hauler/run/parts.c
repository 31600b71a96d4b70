// SPDX-License-Identifier: GPL-2.0-or-later
/* parts.c - a step made of many parts: run them in order, and name the one that failed. */
#include "hauler/run/priv.h"

#include "common/clock.h"
#include "common/log.h"

static int run(struct mig *m, const struct part *parts, size_t n, bool ask, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t t0 = now_us(), cpu0 = now_thread_us();

		if (parts[i].run(m, e) < 0) {
			if (ask)
				talk_reason(m, e);
			return err_wrap(e, "%s", parts[i].name);
		}
		log_debug("part=\"%s\" us=%llu cpu_us=%llu", parts[i].name,
		          (unsigned long long)(now_us() - t0),
		          (unsigned long long)(now_thread_us() - cpu0));
	}
	return 0;
}

int parts_run(struct mig *m, const struct part *parts, size_t n, struct err *e)
{
	return run(m, parts, n, true, e);
}

int parts_run_here(struct mig *m, const struct part *parts, size_t n, struct err *e)
{
	return run(m, parts, n, false, e);
}
