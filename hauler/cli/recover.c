// SPDX-License-Identifier: GPL-2.0-or-later
/* recover.c - haul recover [ID], haul resolve ID --keep-here|--drop-here. */
#include <stdlib.h>
#include <string.h>

#include "hauler/cli/cli.h"
#include "hauler/cli/signals.h"
#include "hauler/run/recover.h"

static int parse_id(const char *text, uint64_t *id)
{
	char *end;

	*id = strtoull(text, &end, 16);
	if (*end || end == text || *id == 0) {
		fprintf(stderr,
		        "haul: \"%s\" is not the ID of a migration; haul recover --list shows "
		        "them\n",
		        text);
		return -EINVAL;
	}
	return 0;
}

static struct recover the_recovery; /* the signal thread reads its member current */

int cli_recover(struct opts *o, int argc, char **argv)
{
	struct recover *rc = &the_recovery;

	rc->opt = o;
	rc->list = o->resolve.list;
	if (argc == 1 && parse_id(argv[0], &rc->id) < 0)
		return EXIT_USAGE;
	signals_catch(&rc->current);
	if (recover_all(rc) < 0)
		return EXIT_FAILED;
	return rc->left ? EXIT_ATTENTION : EXIT_OK;
}

static const char keep_text[] =
        "The copy on this host will resume from the moment when it was stopped. If the one at\n"
        "the destination runs, there will be TWO: make certain that it does not run, and never\n"
        "will. What it has done there is lost.\n";
static const char drop_text[] =
        "The copy on this host will be killed. If the one at the destination does not run, or\n"
        "still lacks pages that only this one has, the process is LOST.\n";

static bool agreed(const struct opts *o)
{
	char line[16] = "";

	fputs(o->resolve.keep_here ? keep_text : drop_text, stderr);
	if (o->yes)
		return true;
	fputs("Do it? [y/N] ", stderr);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

int cli_resolve(struct opts *o, int argc, char **argv)
{
	struct recover rc = { .opt = o };

	(void)argc;
	if (o->resolve.keep_here == o->resolve.drop_here) {
		fputs("usage: haul resolve ID --keep-here|--drop-here\n", stderr);
		return EXIT_USAGE;
	}
	if (parse_id(argv[0], &rc.id) < 0)
		return EXIT_USAGE;
	if (!agreed(o))
		return EXIT_FAILED;
	return recover_resolve(&rc, o->resolve.keep_here) < 0 ? EXIT_FAILED : EXIT_OK;
}
