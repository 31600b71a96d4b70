// SPDX-License-Identifier: GPL-2.0-or-later
/* move.c - haul PID HOST, done by this process itself. */
#include <errno.h>

#include "common/log.h"
#include "hauler/cli/cli.h"
#include "hauler/cli/signals.h"

/* A file that was opened after the look, or replaced, undoes the move: then look again, this often. */
#define TRIES 3

static struct mig migs[TRIES]; /* the signal thread may look at one until the program ends */
static struct mig *now;

static bool is_stale(const struct mig *m)
{
	return m->state == MIG_UNDONE && m->err.src == ERR_TARGET && m->err.code == ESTALE &&
	       !m->halt.stop;
}

int cli_status(const struct mig *m)
{
	bool lost = m->state == MIG_LOST, stopped = m->halt.stop;
	bool blocked = m->err.src == ERR_TARGET || m->err.code == EPERM;

	return lost      ? EXIT_ATTENTION
	       : stopped ? EXIT_INTERRUPTED
	       : blocked ? EXIT_BLOCKED
	                 : EXIT_FAILED;
}

int cli_move(struct opts *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (int i = 0;; i++) {
		struct mig *m = &migs[i];

		mig_init(m);
		__atomic_store_n(&now, m, __ATOMIC_RELEASE);
		if (i == 0)
			signals_catch(&now);
		int r = run_migration(m, o);

		if (r < 0 && is_stale(m) && i + 1 < TRIES) {
			log_warn("%s; the process has resumed here: trying again (%d of %d)",
			         m->err.msg, i + 2, TRIES);
			run_fini(m);
			continue;
		}
		if (r < 0)
			report_error(&m->err, o->json);
		report_end(m);
		int status = r == 0 ? EXIT_OK : cli_status(m);

		run_fini(m);
		return status;
	}
}
