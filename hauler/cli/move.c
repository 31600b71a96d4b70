// SPDX-License-Identifier: GPL-2.0-or-later
/* move.c - haul PID HOST, done by this process itself. */
#include "hauler/cli/cli.h"
#include "hauler/cli/signals.h"

static struct mig the_mig; /* the signal thread may look at it until the program ends */
static struct mig *const now = &the_mig;

int cli_move(struct opts *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	mig_init(&the_mig);
	signals_catch(&now);
	int r = run_migration(&the_mig, o);

	if (r < 0)
		report_error(&the_mig.err, o->json);
	report_end(&the_mig);
	bool lost = the_mig.state == MIG_LOST, stopped = the_mig.halt.stop;
	bool blocked = the_mig.err.src == ERR_TARGET || the_mig.err.code == EPERM;

	run_fini(&the_mig);
	if (r == 0)
		return EXIT_OK;
	return lost      ? EXIT_ATTENTION
	       : stopped ? EXIT_INTERRUPTED
	       : blocked ? EXIT_BLOCKED
	                 : EXIT_FAILED;
}
