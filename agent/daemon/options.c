// SPDX-License-Identifier: GPL-2.0-or-later
/* options.c - the command line of hauld. */
#include "agent/daemon/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

#define HOST_KEY_PATH   "/etc/haul/host_key"
#define AUTHORIZED_PATH "/etc/haul/authorized_keys"
#define CONFIG_PATH     "/etc/haul/haul.conf"

static void usage(FILE *f)
{
	fputs("Usage: hauld [OPTION]...\n"
	      "Receive processes from other hosts, and serve the HTTP API.\n\n"
	      "  -p, --port=N              listen on this port (4285)\n"
	      "  -b, --bind=ADDR           listen only on this address (all)\n"
	      "  -k, --host-key=FILE       SSH host key, made at the first start (" HOST_KEY_PATH
	      ")\n"
	      "  -a, --authorized-keys=FILE  keys of hosts that may haul here (" AUTHORIZED_PATH
	      ")\n"
	      "  -c, --criu=PATH           CRIU program (that of the configuration, else the "
	      "one that\n"
	      "                            find-criu chose)\n"
	      "  -f, --config=FILE         configuration, key = value lines (" CONFIG_PATH ")\n"
	      "      --check-config        report every fault of the configuration and end\n"
	      "      --fingerprint         print the host key's fingerprint and end\n"
	      "  -v, --verbose             log more; twice: log everything\n"
	      "  -V, --version             print the version and end\n"
	      "  -h, --help                print the options and end\n",
	      f);
}

enum { OPT_FINGERPRINT = 256, OPT_CHECK };

static const struct option long_options[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "bind", required_argument, NULL, 'b' },
	{ "host-key", required_argument, NULL, 'k' },
	{ "authorized-keys", required_argument, NULL, 'a' },
	{ "criu", required_argument, NULL, 'c' },
	{ "config", required_argument, NULL, 'f' },
	{ "fingerprint", no_argument, NULL, OPT_FINGERPRINT },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

int options_parse(struct options *v, int argc, char **argv)
{
	struct agent_conf *c = &v->conf;
	char *end;
	int o;

	*v = (struct options){ .conf = { .port = TR_PORT_DEFAULT,
		                         .host_key = HOST_KEY_PATH,
		                         .authorized_keys = AUTHORIZED_PATH,
		                         .config = CONFIG_PATH } };

	while ((o = getopt_long(argc, argv, "p:b:k:a:c:f:vVh", long_options, NULL)) != -1) {
		switch (o) {
		case 'p':
			c->port = (unsigned int)strtoul(optarg, &end, 10);
			c->port = *end ? 0 : c->port; /* refused below */
			break;
		case 'b':
			c->bind = optarg;
			break;
		case 'k':
			c->host_key = optarg;
			break;
		case 'a':
			c->authorized_keys = optarg;
			break;
		case 'c':
			c->criu = optarg;
			break;
		case 'f':
			c->config = optarg;
			break;
		case OPT_FINGERPRINT:
			v->fingerprint = true;
			break;
		case OPT_CHECK:
			v->check = true;
			break;
		case 'v':
			v->verbose++;
			break;
		case 'V':
			puts(PACKAGE_STRING);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			fputs("hauld: hauld --help lists the options\n", stderr);
			return 2;
		}
	}
	if (c->port == 0 || c->port > 65535)
		fputs("hauld: --port: not a number from 1 to 65535\n", stderr);
	else if (optind != argc)
		fprintf(stderr,
		        "hauld: \"%s\" is not an option, and hauld takes no other arguments\n",
		        argv[optind]);
	else if (strcmp(c->config, CONFIG_PATH) && access(c->config, R_OK) < 0)
		fprintf(stderr, "hauld: --config=%s: %s\n", c->config, strerror(errno));
	else
		return -1;
	return 2;
}
