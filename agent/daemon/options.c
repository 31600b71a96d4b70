// SPDX-License-Identifier: GPL-2.0-or-later
/* options.c - the command line of hauld. */
#include "agent/daemon/options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "config.h"

#define CONFIG_PATH   "/etc/haul/haul.conf"
#define OPTION_COLUMN 28
#define ROW_FIRST     256 /* getopt's number of options_rows[0] */

enum {
	PORT,
	BIND,
	HOST_KEY,
	AUTHORIZED,
	CRIU,
	CONFIG,
	CHECK,
	FINGERPRINT,
	VERBOSE,
	SHOW_VERSION,
	HELP,
	N
};

#define FLAG       OPTION_FLAG
#define TEXT(what) OPTION_TEXT, .value = what

/* clang-format off: one option, one block of the same shape */
const struct option_row options_rows[N + 1] = {
	[PORT] = { "port", 'p', NULL, OPTION_NUMBER, .value = "N", .min = 1, .max = 65535,
	           .def = "4285", .help = "listen on this port" },
	[BIND] = { "bind", 'b', NULL, TEXT("ADDR"),
	           .help = "listen only on this address (default: all)" },
	[HOST_KEY] = { "host-key", 'k', NULL, TEXT("FILE"), .def = "/etc/haul/host_key",
	               .help = "SSH host key, made at the first start" },
	[AUTHORIZED] = { "authorized-keys", 'a', NULL, TEXT("FILE"),
	                 .def = "/etc/haul/authorized_keys",
	                 .help = "keys of hosts that may haul here" },
	[CRIU] = { "criu", 'c', NULL, TEXT("PATH"),
	           .help = "CRIU program (default: that of the configuration, else the one that "
	                   "find-criu chose)" },
	[CONFIG] = { "config", 'f', NULL, TEXT("FILE"), .def = CONFIG_PATH,
	             .help = "configuration, key = value lines" },
	[CHECK] = { "check-config", 0, NULL, FLAG,
	            .help = "report every fault of the configuration and end" },
	[FINGERPRINT] = { "fingerprint", 0, NULL, FLAG,
	                  .help = "print the host key's fingerprint and end" },
	[VERBOSE] = { "verbose", 'v', NULL, FLAG, .help = "log more; twice: log everything" },
	[SHOW_VERSION] = { "version", 'V', NULL, FLAG, .help = "print the version and end" },
	[HELP] = { "help", 'h', NULL, FLAG, .help = "print the options and end" },
};
/* clang-format on */

/* Where a value goes: const char * for a text, unsigned int for a number and for how often a flag is given. */
#define AT(field) offsetof(struct options, field)
static const size_t place[N] = {
	[PORT] = AT(conf.port),
	[BIND] = AT(conf.bind),
	[HOST_KEY] = AT(conf.host_key),
	[AUTHORIZED] = AT(conf.authorized_keys),
	[CRIU] = AT(conf.criu),
	[CONFIG] = AT(conf.config),
	[CHECK] = AT(check),
	[FINGERPRINT] = AT(fingerprint),
	[VERBOSE] = AT(verbose),
	[SHOW_VERSION] = AT(version),
	[HELP] = AT(help),
};

static int store(struct options *v, size_t i, const char *text)
{
	const struct option_row *row = &options_rows[i];
	void *to = (char *)v + place[i];
	long n;

	if (row->kind == OPTION_FLAG) {
		++*(unsigned int *)to;
	} else if (row->kind == OPTION_TEXT) {
		*(const char **)to = text;
	} else {
		if (options_number(row, text, &n) < 0) {
			fprintf(stderr, "hauld: --%s: not a number from %ld to %ld\n", row->name,
			        row->min, row->max);
			return 2;
		}
		*(unsigned int *)to = (unsigned int)n;
	}
	return -1;
}

static int usage(void)
{
	puts("Usage: hauld [OPTION]...\n"
	     "Receive processes from other hosts, and serve the HTTP API.\n");
	for (size_t i = 0; i < N; i++)
		options_help(stdout, OPTION_COLUMN, &options_rows[i]);
	return 0;
}

int options_parse(struct options *v, int argc, char **argv)
{
	struct option all[N + 1] = { 0 };
	char letters[2 * N + 1] = "";
	int c, r = -1;

	*v = (struct options){ 0 };
	for (size_t i = 0; i < N; i++)
		if (options_rows[i].def)
			store(v, i, options_rows[i].def);
	options_getopt(options_rows, N, ROW_FIRST, all, letters);
	while (r < 0 && (c = getopt_long(argc, argv, letters, all, NULL)) != -1) {
		if (c == '?') {
			fputs("hauld: hauld --help lists the options\n", stderr);
			return 2;
		}
		r = store(v, options_index(options_rows, ROW_FIRST, c), optarg);
		if (v->version)
			return puts(PACKAGE_STRING), 0;
		if (v->help)
			return usage();
	}
	if (r >= 0)
		return r;
	if (optind != argc)
		fprintf(stderr,
		        "hauld: \"%s\" is not an option, and hauld takes no other arguments\n",
		        argv[optind]);
	else if (strcmp(v->conf.config, CONFIG_PATH) && access(v->conf.config, R_OK) < 0)
		fprintf(stderr, "hauld: --config=%s: %s\n", v->conf.config, strerror(errno));
	else
		return -1;
	return 2;
}
