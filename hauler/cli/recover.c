// SPDX-License-Identifier: GPL-2.0-or-later
/* recover.c - haul recover [ID], haul resolve ID --keep-here|--drop-here. */
#include <stdlib.h>
#include <string.h>

#include "hauler/cli/cmd.h"
#include "hauler/run/recover.h"

static int parse_id(const char *text, uint64_t *id)
{
	char *end;

	*id = strtoull(text, &end, 16);
	if (*end || end == text || *id == 0) {
		fprintf(stderr, "haul: \"%s\" is no migration; haul recover --list shows them\n",
		        text);
		return -EINVAL;
	}
	return 0;
}

static struct recover the_recovery;

struct mig *recovering(void)
{
	return the_recovery.current;
}

int cmd_recover(const struct opts *o, int argc, char **argv)
{
	struct recover *rc = &the_recovery;

	rc->opt = o;
	rc->list = o->list;
	if (argc > 1 || (argc == 1 && parse_id(argv[0], &rc->id) < 0))
		return EXIT_USAGE;
	catch_signals();
	if (recover_all(rc) < 0)
		return EXIT_FAILED;
	return rc->left ? EXIT_ATTENTION : EXIT_OK;
}

static bool agreed(const struct opts *o)
{
	char line[16] = "";

	fprintf(stderr,
	        o->keep_here
	                ? "The copy here will go on from the moment when it was stopped. If the "
	                  "one at "
	                  "the\ndestination runs, there will be TWO: make certain that it does "
	                  "not, and "
	                  "never will.\nWhat it did there since is lost.\n"
	                : "The copy here will be killed. If the one at the destination does not "
	                  "run, "
	                  "or still\nlacks pages that only this one has, the process is LOST.\n");
	if (o->yes)
		return true;
	fputs("Do it? [y/N] ", stderr);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

int cmd_resolve(const struct opts *o, int argc, char **argv)
{
	struct recover rc = { .opt = o };

	if (argc != 1 || o->keep_here == o->drop_here) {
		fputs("Usage: haul resolve ID --keep-here|--drop-here\n", stderr);
		return EXIT_USAGE;
	}
	if (parse_id(argv[0], &rc.id) < 0)
		return EXIT_USAGE;
	if (!agreed(o))
		return EXIT_FAILED;
	return recover_resolve(&rc, o->keep_here) < 0 ? EXIT_FAILED : EXIT_OK;
}
