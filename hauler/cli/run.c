// SPDX-License-Identifier: GPL-2.0-or-later
/* run.c - haul run --as=KEY CMD..., haul land --as=KEY. */
#include <stdio.h>

#include "hauler/cli/cli.h"
#include "hauler/launch/launch.h"

_Static_assert(LAUNCH_HOST_BYTES == CLI_HOST_BYTES, "names of hosts have one size");

static int launch(const struct opts *o, char *const *argv)
{
	static struct launch l;
	struct err e = ERR_INIT;

	if (!o->as) {
		fprintf(stderr, "haul: haul %s needs --as=KEY\n", argv ? "run" : "land");
		return EXIT_USAGE;
	}
	l.opt = o;
	l.argv = argv;
	if (o->dest)
		l.n_hosts = snprintf(l.host[0], sizeof(l.host[0]), "%s", o->dest) > 0;
	else
		l.n_hosts = cli_trusted(o, l.host, LAUNCH_HOSTS_MAX);
	if (o->launch.give_on && l.n_hosts == 0) {
		fputs("haul: --give-on needs --to=HOST, or a trusted host (haul trust HOST)\n",
		      stderr);
		return EXIT_USAGE;
	}
	int status = launch_main(&l, &e);

	if (status < 0)
		fprintf(stderr, "haul: %s\n", e.msg);
	return status < 0 ? EXIT_FAILED : status;
}

int cli_run(struct opts *o, int argc, char **argv)
{
	(void)argc;
	return launch(o, argv);
}

int cli_land(struct opts *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return launch(o, NULL);
}
