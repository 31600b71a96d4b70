/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conf.h - what the configuration says about the API, and what the daemon gives to its process. */
#ifndef HAUL_AGENT_API_CONF_H
#define HAUL_AGENT_API_CONF_H

#define API_SOCKET    "/run/haul/api.sock"
#define API_STATE_DIR "/var/lib/haul/migrations"
#define API_TOKENS    "/etc/haul/tokens"

struct api_conf {
	const char *config; /* the file; also given to haul */
	char socket[100], state[512], tokens[512];
	char bind[64], cert[512], key[512]; /* TCP: only with TLS */
	unsigned int port; /* 0: no TCP */
	unsigned int running_max, bandwidth_mbit, kept_max;
	char user_policies[256]; /* policies that users other than root may name */
	char webhooks[1024]; /* URLs */
	char webhook_secret[512]; /* a file */
	char webhook_events[8]; /* main, all */
};

/* What the daemon keeps open and gives to each API process; -1: not open. */
struct api_given {
	int state_fd; /* the folder of migrations, locked */
	int local_fd, tls_fd; /* listening sockets */
	int beat_fd; /* the API process writes a byte to it at every tick */
};

#endif
