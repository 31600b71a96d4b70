/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policies.h - when to stop copying; pure functions of what was measured. */
#ifndef HAUL_POLICIES_H
#define HAUL_POLICIES_H

#include <stdbool.h>
#include <stdint.h>

enum pol_mode { POL_AUTO, POL_STOP_COPY, POL_PRE_COPY, POL_POST_COPY, POL_HYBRID, POL_NMODES };

/** pol_mode_name() / pol_mode_parse() - "auto", "stop-copy", ... -1: no such mode */
const char *pol_mode_name(enum pol_mode mode);
int pol_mode_parse(const char *word);

/* What the hauler knows at a decision. */
struct pol_state {
	enum pol_mode mode;
	unsigned int round; /* rounds finished; 0: nothing is copied yet */
	uint64_t total_pages; /* of the tree, tracked */
	uint64_t round_pages; /* dirty pages that the last round took */
	uint64_t sum_pages; /* of all rounds */
	uint64_t round_us; /* from its first scan to the peer's MARKED */
	double dirty_pages_ps; /* pages first written per second, now */
	double link_Bps; /* measured while the pipe was full; 0: not yet */
	uint64_t freeze_us; /* what the stop costs apart from pages */
	uint64_t downtime_limit_us;
	unsigned int max_rounds;
};

enum pol_verdict {
	POL_ROUND, /* copy another round */
	POL_FINISH, /* stop, copy the rest, resume */
	POL_SWITCH, /* stop, resume, bring the rest lazily */
};

struct pol_answer {
	enum pol_verdict verdict;
	uint64_t left_pages; /* expected to be dirty when stopped now */
	uint64_t downtime_us; /* predicted for POL_FINISH now */
	const char *why; /* a sentence for the operator */
};

/** pol_decide() - after each round, and before the first */
struct pol_answer pol_decide(const struct pol_state *s);

/**
 * pol_cut() - in mid-round: is the rest of the first round wasted?
 * True when the program writes pages faster than the link carries them and the
 * mode allows to bring them after the switch.
 */
bool pol_cut(const struct pol_state *s);

#endif
