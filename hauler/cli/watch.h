/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watch.h - shared by the files of haul watch: what is measured, and what is shown. */
#ifndef HAUL_WATCH_H
#define HAUL_WATCH_H

#include <signal.h>

#include "hauler/cli/cli.h"
#include "policies/trace.h"

struct watch {
	const struct opts *opt;
	struct tracker *trk;
	struct ages *ages;
	struct trace t;
	int pidfd;
	sigset_t mask; /* while it waits */
	uint64_t start_us; /* of the trace */
	bool first; /* the first scan finds all pages: they are there, not written */
	bool gone; /* the process has ended */

	/* the last look */
	struct tracker_stats st;
	uint32_t span; /* samples since the one before */
	uint64_t armed_us; /* when it was */
	uint32_t pace; /* samples to the next one */
	struct pol_curve curve; /* written since, by glances */
	uint64_t look_us, glances_us; /* what they cost, of a CPU */

	uint32_t longest; /* pace so far, and what a look cost then */
	uint64_t longest_cost_us;
	uint32_t late; /* samples that were not read in time */

	/* on the terminal */
	uint64_t shown_s, told_s; /* a line; what policies would do */
	unsigned int noted; /* a bit for each note */
};

/* ---- watch_show.c ---- */

/** watch_show() - after each look. Return: false: the reader has gone */
bool watch_show(struct watch *w);
/** watch_size() - what makes a stop longer now; for a process that has exited, its last value */
void watch_size(struct watch *w);
/** watch_end() - print the rest */
void watch_end(struct watch *w);

#endif
