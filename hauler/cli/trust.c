// SPDX-License-Identifier: GPL-2.0-or-later
/* trust.c - haul trust HOST: show a host's key, and store it when the user agrees. */
#include "hauler/cli/cli.h"

#include <stdio.h>

static bool ask(const char *host)
{
	char line[16] = "";

	printf("Store it as the key of %s? Compare it with `hauld --fingerprint` there. [y/N] ",
	       host);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

int cli_trust(struct opts *o, int argc, char **argv)
{
	struct chan_target to = { .host = o->dest,
		                  .port = (uint16_t)o->port,
		                  .known_hosts = o->known_hosts,
		                  .connect_ms = o->connect_limit_ms };
	struct err e = ERR_INIT;
	char print[128];
	int known = 0, r = trust_fetch(&to, print, sizeof(print), &known, &e);

	(void)argc;
	(void)argv;

	if (r == 0) {
		static const char *const words[] = { "not known yet", "known",
			                             "KNOWN WITH ANOTHER KEY" };

		printf("%s port %u: %s (%s)\n", o->dest, o->port, print, words[known]);
		if (known == 1)
			return EXIT_OK;
		if (!o->yes && !ask(o->dest))
			return EXIT_FAILED;
		r = trust_store(&to, print, &e);
	}
	if (r < 0) {
		report_error(&e, o->json);
		return EXIT_FAILED;
	}
	puts("stored");
	return EXIT_OK;
}
