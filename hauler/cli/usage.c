// SPDX-License-Identifier: GPL-2.0-or-later
/* usage.c - haul --help; what is wrong with a command line. */
#include "hauler/cli/cmd.h"

#include <string.h>

void usage(FILE *f)
{
	fputs("Usage: haul [OPTION]... PID HOST     move a process tree to HOST while it runs\n"
	      "       haul check PID [HOST]         what stands in the way? touches nothing\n"
	      "       haul trust HOST               show and store a host's key\n"
	      "       haul recover [ID]             end what a killed haul began\n"
	      "       haul resolve ID --keep-here|--drop-here\n"
	      "                                     when the destination cannot be asked any more\n"
	      "       haul policy list|show|explain [POLICY], check FILE..., schema\n"
	      "       haul policy simulate --trace=FILE [--bandwidth=MBIT]\n"
	      "       haul attach PID               the terminal of a process that was hauled "
	      "here\n"
	      "       haul watch PID                what it writes; what each policy would do\n"
	      "       haul peers [PID]              hosts whose keys are trusted; would PID fit?\n"
	      "       haul ls | show ID | watch ID | cancel ID\n"
	      "                                     migrations of the hauld here, or of --agent\n"
	      "\n"
	      "  -p, --port=N                port of hauld at HOST (4285)\n"
	      "      --policy=NAME|FILE      how to move it (default); single options:\n",
	      f);
	pol_help(f);
	fputs("      --connect-limit-ms=N    for each connection (10000)\n"
	      "      --link-limit-s=N        after the hand-over: try so long to reach HOST "
	      "again (3600)\n"
	      "      --move-address=ADDR[/LEN][@IFACE]  this address goes along, and its TCP\n"
	      "                              connections\n"
	      "      --map=WHAT=TARGET       what leads out of the tree: fd:N, unix:PATH or tty\n"
	      "                              becomes file:PATH, null, close, unix:PATH; tty:\n"
	      "                              attach\n"
	      "      --close-fd=N            the file of descriptor N stays behind\n"
	      "      --fs=DIR                this directory goes along, with all that is in it\n"
	      "      --exclude=PATTERN       but not what has such a name, or path when there is a "
	      "/\n"
	      "      --fs-replace            take the place of what HOST has there\n"
	      "      --fs-from-policy        what the policy lists as fs and exclude\n"
	      "      --hook=POINT=FILE       run FILE when POINT is reached\n"
	      "      --into-root=DIR         its root directory at HOST, with all that it uses\n"
	      "  -i, --identity=FILE         private key\n"
	      "      --known-hosts=FILE      trusted host keys\n"
	      "      --criu=PATH             this CRIU here (the destination has its own)\n"
	      "      --config=FILE           key = value lines (" CONFIG_PATH ")\n"
	      "      --agent=none|local|URL  let no hauld do it, the one here (if there is one), "
	      "or\n"
	      "                              one elsewhere: https://HOST:PORT\n"
	      "      --token-file=FILE       of --agent=URL (~/.config/haul/token)\n"
	      "      --ca=FILE               certificates that --agent=URL may have\n"
	      "      --owner=UID             only if all of it belongs to this user\n"
	      "      --priority=N            in the queue of hauld, -1000 to 1000 (0)\n"
	      "      --json                  one JSON object a line\n"
	      "      --list                  recover: show what there is, change nothing\n"
	      "      --to=HOST               recover: the destination has another address now\n"
	      "      --keep-here             resolve: the stopped copy here goes on\n"
	      "      --drop-here             resolve: the stopped copy here is killed\n"
	      "      --record=FILE           watch: keep a trace\n"
	      "      --seconds=N             watch: end after so long\n"
	      "      --sample-ms=N           watch: time between two looks (200)\n"
	      "      --trace=FILE            simulate: what haul watch has kept\n"
	      "      --bandwidth=MBIT        watch, simulate: of the link (1000)\n"
	      "  -y, --yes                   trust, resolve: do it without asking\n"
	      "  -q, --quiet  -v, --verbose  -V, --version  -h, --help\n"
	      "\n"
	      "Exit status: 0 moved; 1 not moved, it goes on here; 2 usage; 3 blocked;\n"
	      "4 handed over but the outcome is unknown; 130 interrupted, it goes on here.\n",
	      f);
}

/* ---- words ---- */

static const struct {
	const char *word, *takes;
} commands[] = {
	{ "check", "check PID [HOST]" }, { "trust", "trust HOST" },        { "watch", "watch PID" },
	{ "attach", "attach PID" },      { "peers", "peers [PID]" },       { "ls", "ls" },
	{ "show", "show MIGRATION" },    { "cancel", "cancel MIGRATION" },
};

static const char *takes_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].word, word))
			return commands[i].takes;
	return NULL;
}

bool is_command(const char *word)
{
	return takes_of(word) != NULL;
}

int misused(int argc, char **argv)
{
	if (argc == 0)
		usage(stderr);
	else if (is_command(argv[0]))
		fprintf(stderr, "haul: the words for it are: haul %s\n", takes_of(argv[0]));
	else if (argc == 1 && strspn(argv[0], "0123456789") == strlen(argv[0]))
		fprintf(stderr, "haul: where to? haul %s HOST (haul check %s looks only)\n",
		        argv[0], argv[0]);
	else
		fprintf(stderr, "haul: haul PID HOST takes two words, not %d\n", argc);
	return EXIT_USAGE;
}

/* ---- options ---- */

static bool has_word(const char *words, const char *w)
{
	size_t n = strlen(w);

	for (const char *s = words; *s; s += strspn(s, " ")) {
		size_t len = strcspn(s, " ");

		if (len == n && !memcmp(s, w, n))
			return true;
		s += len;
	}
	return false;
}

static bool is_row(const char *name)
{
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (!strcmp(pol_table[i].name, name))
			return true;
	return false;
}

int only_takes(const struct opts *o, const char *command, const char *options, bool rows)
{
	for (unsigned int i = 0; i < o->n_given; i++) {
		const char *name = o->given[i];

		if (has_word(options, name) || has_word("quiet verbose", name) ||
		    (rows && is_row(name)))
			continue;
		fprintf(stderr, "haul: %s has no use for --%s\n", command, name);
		return -EINVAL;
	}
	return 0;
}
