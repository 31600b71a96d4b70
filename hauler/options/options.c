// SPDX-License-Identifier: GPL-2.0-or-later
/* options.c - the table of haul's options that are not a policy's. */
#include "hauler/options/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "common/help.h"

#define FLAG           OPTION_FLAG
#define TEXT(what)     OPTION_TEXT, .value = what
#define LIST(what)     OPTION_LIST, .value = what
#define NUMBER(lo, hi) OPTION_NUMBER, .value = "N", .min = lo, .max = hi

/* clang-format off: one option, one block of the same shape */
const struct option_row options_table[OPTION_N] = {
	[OPTION_PORT] = { "port", 'p', "port", NUMBER(1, 65535), .whose = OPTION_USER, .unit = "",
	                  .def = "4285", .help = "TCP port of hauld on HOST" },
	[OPTION_POLICY] = { "policy", 0, "policy", TEXT("NAME|FILE"), .whose = OPTION_USER,
	                    .def = "default",
	                    .help = "policy of the move; the options that follow change single "
	                            "values" },
	[OPTION_CONNECT_LIMIT_MS] = { "connect-limit-ms", 0, "connect_limit_ms",
	                              NUMBER(100, 600000), .whose = OPTION_OPERATOR, .unit = "ms",
	                              .def = "10000",
	                              .help = "how long to try to make each connection" },
	[OPTION_LINK_LIMIT_S] = { "link-limit-s", 0, "link_limit_s", NUMBER(0, 31536000),
	                          .whose = OPTION_OPERATOR, .unit = "s", .def = "3600",
	                          .help = "how long to try to reconnect after the hand-over" },
	[OPTION_MOVE_ADDRESS] = { "move-address", 0, "move_address", LIST("ADDR[/LEN][@IFACE]"),
	                          .whose = OPTION_ADMIN,
	                          .help = "move this address and its TCP connections, too" },
	[OPTION_MAP] = { "map", 0, "map", LIST("WHAT=TARGET"), .whose = OPTION_ADMIN,
	                 .help = "replace a file that is connected to a process outside the tree; "
	                         "WHAT is fd:N, "
	                         "unix:PATH or tty, TARGET is file:PATH, null, close, unix:PATH "
	                         "or, for tty, attach" },
	[OPTION_CLOSE_FD] = { "close-fd", 0, "close_fd", LIST("[PID/]N"), .whose = OPTION_OPERATOR,
	                      .help = "close descriptor N on HOST" },
	[OPTION_FS] = { "fs", 0, "fs", LIST("DIR"), .whose = OPTION_ADMIN,
	                .help = "move this directory and everything in it, too" },
	[OPTION_EXCLUDE] = { "exclude", 0, "exclude", LIST("PATTERN"), .whose = OPTION_ADMIN,
	                     .help = "leave out files of --fs whose name matches, or whose path "
	                             "does if PATTERN has a /" },
	[OPTION_FS_REPLACE] = { "fs-replace", 0, "fs_replace", FLAG, .whose = OPTION_ADMIN,
	                        .help = "let --fs replace a directory that exists on HOST" },
	[OPTION_FS_FROM_POLICY] = { "fs-from-policy", 0, "fs_from_policy", FLAG,
	                            .whose = OPTION_OPERATOR,
	                            .help = "move the directories that the policy lists" },
	[OPTION_INTO_ROOT] = { "into-root", 0, "into_root", TEXT("DIR"), .whose = OPTION_ADMIN,
	                       .help = "give the processes this root directory on HOST, with every "
	                               "file they use in it" },
	[OPTION_AS] = { "as", 0, "as", TEXT("KEY"), .whose = OPTION_USER,
	                .help = "let it land in the haul land that waits on HOST under KEY; run, "
	                        "land: "
	                        "the key of the program" },
	[OPTION_PID] = { "pid", 0, "pids", TEXT("WORD"), .whose = OPTION_USER, .def = "auto",
	                 .help = "pids on HOST: keep, own-namespace (a pid namespace of its own), "
	                         "or auto: that when they are taken" },
	[OPTION_HOOK] = { "hook", 0, NULL, LIST("POINT=FILE"), .whose = OPTION_SELF,
	                  .help = "run FILE when the migration reaches POINT" },
	[OPTION_IDENTITY] = { "identity", 'i', NULL, TEXT("FILE"), .whose = OPTION_SELF,
	                      .help = "private key" },
	[OPTION_KNOWN_HOSTS] = { "known-hosts", 0, NULL, TEXT("FILE"), .whose = OPTION_SELF,
	                         .help = "trusted host keys" },
	[OPTION_CRIU] = { "criu", 0, NULL, TEXT("PATH"), .whose = OPTION_SELF,
	                  .help = "CRIU to use on this host (hauld has its own)" },
	[OPTION_CONFIG] = { "config", 0, NULL, TEXT("FILE"), .whose = OPTION_SELF,
	                    .def = "/etc/haul/haul.conf",
	                    .help = "configuration file, lines of key = value" },
	[OPTION_OWNER] = { "owner", 0, NULL, NUMBER(0, 4294967294), .whose = OPTION_SELF,
	                   .unit = "", .help = "refuse unless every process belongs to user N" },
	[OPTION_AGENT] = { "agent", 0, NULL, TEXT("none|local|URL"), .whose = OPTION_FRONT,
	                   .help = "which hauld does the work: none, the local one, or "
	                           "https://HOST:PORT; "
	                           "by default the local one if it runs" },
	[OPTION_TOKEN_FILE] = { "token-file", 0, NULL, TEXT("FILE"), .whose = OPTION_FRONT,
	                        .def = "~/.config/haul/token", .help = "token for --agent=URL" },
	[OPTION_CA] = { "ca", 0, NULL, TEXT("FILE"), .whose = OPTION_FRONT,
	                .help = "certificates to trust for --agent=URL, or for an archive behind a "
	                        "URL "
	                        "(default: the system's)" },
	[OPTION_PRIORITY] = { "priority", 0, "priority", NUMBER(-1000, 1000), .whose = OPTION_USER,
	                      .unit = "", .def = "0",
	                      .help = "place in hauld's queue, higher goes first" },
	[OPTION_JSON] = { "json", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                  .help = "print one JSON object per line" },
	[OPTION_LIST_ONLY] = { "list", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                       .help = "recover: list unfinished migrations, change nothing" },
	[OPTION_TO] = { "to", 0, NULL, TEXT("HOST"), .whose = OPTION_FRONT,
	                .help = "recover: new address of the destination; run, land: where to "
	                        "look for who has landed (any trusted host if it is not given)" },
	[OPTION_GIVE_ON] = { "give-on", 0, NULL, TEXT("SIGNAL"), .whose = OPTION_FRONT,
	                     .help = "run, land: SIGNAL gives the program away to who has landed "
	                             "under its key, instead of reaching the program" },
	[OPTION_PARK_S] = { "park-s", 0, NULL, NUMBER(0, 86400), .whose = OPTION_FRONT, .unit = "s",
	                    .def = "60",
	                    .help = "run, land: while nobody has landed, keep the program this "
	                            "long without a caller; then it gets the signal" },
	[OPTION_AWAY_STATUS] = { "away-status", 0, NULL, NUMBER(0, 255), .whose = OPTION_FRONT,
	                         .unit = "", .def = "0",
	                         .help = "run, land: exit status when the program has moved away" },
	[OPTION_KEEP_HERE] = { "keep-here", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                       .help = "resolve: resume the stopped copy on this host" },
	[OPTION_DROP_HERE] = { "drop-here", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                       .help = "resolve: kill the stopped copy on this host" },
	[OPTION_YES] = { "yes", 'y', NULL, FLAG, .whose = OPTION_FRONT,
	                 .help = "trust, resolve: do not ask for confirmation" },
	[OPTION_LEAVE_RUNNING] = { "leave-running", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                           .help = "save: the process runs on (the default)" },
	[OPTION_STOP] = { "stop", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                  .help = "save: the process stays stopped; SIGCONT resumes it" },
	[OPTION_END] = { "end", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                 .help = "save: end the process when the archive is on the disk" },
	[OPTION_KEEP] = { "keep", 0, NULL, NUMBER(1, 100000), .whose = OPTION_FRONT, .unit = "",
	                  .help = "save, archive prune: keep the last N states of the archive" },
	[OPTION_STATE] = { "state", 0, NULL, NUMBER(1, 4294967294), .whose = OPTION_FRONT,
	                   .unit = "",
	                   .help = "load, archive: the state with this number, instead "
	                           "of the latest" },
	[OPTION_LAZY] = { "lazy", 0, NULL, TEXT("yes|no"), .whose = OPTION_FRONT, .def = "yes",
	                  .help = "load: let the process run before its memory is read" },
	[OPTION_COPY] = { "copy", 0, NULL, FLAG, .whose = OPTION_FRONT,
	                  .help = "load: although the process may live, here or elsewhere" },
	[OPTION_RECORD] = { "record", 0, NULL, TEXT("FILE"), .whose = OPTION_FRONT,
	                    .help = "watch: write a trace" },
	[OPTION_SECONDS] = { "seconds", 0, NULL, NUMBER(1, 86400), .whose = OPTION_FRONT,
	                     .unit = "s", .help = "watch: stop after this time" },
	[OPTION_SAMPLE_MS] = { "sample-ms", 0, NULL, NUMBER(10, 10000), .whose = OPTION_FRONT,
	                       .unit = "ms", .def = "200",
	                       .help = "watch: time between two samples" },
	[OPTION_TRACE] = { "trace", 0, NULL, TEXT("FILE"), .whose = OPTION_FRONT,
	                   .help = "policy simulate: a trace that haul watch has written" },
	[OPTION_BANDWIDTH] = { "bandwidth", 0, NULL, NUMBER(1, 1000000), .whose = OPTION_FRONT,
	                       .unit = "Mbit/s", .def = "1000",
	                       .help = "watch, policy simulate: bandwidth of the link to assume" },
	[OPTION_QUIET] = { "quiet", 'q', NULL, FLAG, .whose = OPTION_FRONT,
	                   .help = "print errors and the result only" },
	[OPTION_VERBOSE] = { "verbose", 'v', NULL, FLAG, .whose = OPTION_FRONT,
	                     .help = "print details" },
	[OPTION_VERSION] = { "version", 'V', NULL, FLAG, .whose = OPTION_FRONT,
	                     .help = "print the version" },
	[OPTION_HELP] = { "help", 'h', NULL, FLAG, .whose = OPTION_FRONT,
	                  .help = "print this help" },
};
/* clang-format on */

const struct option_row *options_by_key(const char *key)
{
	for (size_t i = 0; i < OPTION_N; i++)
		if (options_table[i].key && !strcmp(options_table[i].key, key))
			return &options_table[i];
	return NULL;
}

int options_number(const struct option_row *row, const char *text, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	return *text && !*end && (*text == '-' || (*text >= '0' && *text <= '9')) && !errno &&
	                       *out >= row->min && *out <= row->max
	               ? 0
	               : -EINVAL;
}

void options_getopt(const struct option_row *rows, size_t n, int first, struct option *all,
                    char *letters)
{
	char *l = letters + strlen(letters);

	for (size_t i = 0; i < n; i++) {
		const struct option_row *row = &rows[i];

		all[i] = (struct option){ row->name, row->kind != OPTION_FLAG, NULL,
			                  first + (int)i };
		if (row->letter)
			*l++ = row->letter;
		if (row->letter && row->kind != OPTION_FLAG)
			*l++ = ':';
	}
	*l = 0;
}

size_t options_index(const struct option_row *rows, int first, int c)
{
	size_t i = 0;

	if (c >= first)
		return (size_t)(c - first);
	while (rows[i].letter != c)
		i++;
	return i;
}

/* " (1 to 65535; default 4285)" */
static void range(const struct option_row *row, char *out, size_t bytes)
{
	const char *unit = row->unit && *row->unit ? row->unit : "";

	if (row->kind == OPTION_NUMBER)
		snprintf(out, bytes, " (%ld to %ld%s%s%s%s)", row->min, row->max, *unit ? " " : "",
		         unit, row->def ? "; default " : "", row->def ? row->def : "");
	else if (row->def)
		snprintf(out, bytes, " (default %s)", row->def);
	else
		*out = 0;
}

void options_help(FILE *f, unsigned int column, const struct option_row *row)
{
	char flag[64], text[512], letter[8] = "    ", values[96];

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	range(row, values, sizeof(values));
	snprintf(flag, sizeof(flag), "  %s--%s%s%s", letter, row->name, row->value ? "=" : "",
	         row->value ? row->value : "");
	snprintf(text, sizeof(text), "%s%s", row->help, values);
	help_item(f, column, flag, text);
}
