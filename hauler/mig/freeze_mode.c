// SPDX-License-Identifier: GPL-2.0-or-later
/* freeze_mode.c - how CRIU and haul share the work while the processes are stopped. */
#include "hauler/mig/mig.h"

#define CRIU_WITH_SCANS 40000

/* This CRIU makes no page scans, or the kernel has none: there is nothing to answer. */
static bool is_push(const struct mig *m)
{
	return !m->dump.scans || m->dump.criu_version < CRIU_WITH_SCANS || !tracker_criu_scans();
}

bool freeze_mode_clean(const struct mig *m)
{
	return is_push(m) && m->precopy.tracker_kind == TRACKER_SOFT_DIRTY &&
	       m->dump.criu_version >= CRIU_SAYS_STOPPED;
}

const char *freeze_mode(const struct mig *m)
{
	/* after the dump: whether smaps was really answered */
	bool smaps = m->dump.smaps && (__atomic_load_n(&m->dump.smaps_answered, __ATOMIC_RELAXED) ||
	                               !m->fig.t.dumped_us);

	if (freeze_mode_clean(m))
		return "push-dirty";
	return is_push(m) ? "push" : smaps ? "scans+smaps" : "scans";
}
