// SPDX-License-Identifier: GPL-2.0-or-later
/* handover-edges.c - print the tables of states as the programs have them, a fact a line. */
#include <stdio.h>

#include "agent/mig/mig.h"
#include "hauler/run/run.h"

int main(void)
{
	static const char *const home[] = {
		[HOME_SOURCE] = "source", [HOME_NOBODY] = "nobody", [HOME_DEST] = "destination"
	};

	for (int a = 0; a < MIG_NSTATES; a++) {
		enum mig_state s = (enum mig_state)a;

		printf("source %s runs %s\n", run_state_name(s), home[run_state_home(s)]);
		for (int b = 0; b < MIG_NSTATES; b++)
			if (run_may(s, (enum mig_state)b))
				printf("source %s > %s\n", run_state_name(s),
				       run_state_name((enum mig_state)b));
	}
	struct talk_rule rule;

	for (size_t i = 0; talk_rule(i, &rule); i++)
		printf("message %s from %s to %s\n", rule.name, run_state_name(rule.from),
		       run_state_name(rule.to));
	for (int a = 0; a < WRK_NSTATES; a++) {
		enum wrk_state s = (enum wrk_state)a;
		printf("dest %s runs %s\n", wrk_state_name(s),
		       wrk_may_run(s) ? "destination" : "nobody");
		for (int b = 0; b < WRK_NSTATES; b++)
			if (wrk_may(s, (enum wrk_state)b))
				printf("dest %s > %s\n", wrk_state_name(s),
				       wrk_state_name((enum wrk_state)b));
	}
	return 0;
}
