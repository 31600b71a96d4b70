// SPDX-License-Identifier: GPL-2.0-or-later
/* conf.c - key = value files, and the search for a CRIU. */
#include "common/conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "config.h"

#define CONF_CRIU_CHOSEN "/var/lib/haul/criu/chosen"

/* The keys; hauld(8) explains them (t-options.sh compares). */
static const char *const names[CONF_N] = {
	[CONF_CRIU] = "criu",
	[CONF_HOOK_PREPARE] = "hook-prepare",
	[CONF_HOOK_FROZEN] = "hook-frozen",
	[CONF_HOOK_ARRIVING] = "hook-arriving",
	[CONF_HOOK_RUNNING] = "hook-running",
	[CONF_HOOK_UNDONE] = "hook-undone",
	[CONF_HOOK_LIMIT_MS] = "hook-limit-ms",
	[CONF_FS_ALLOW] = "fs-allow",
	[CONF_FILES_ALLOW] = "files-allow",
	[CONF_UIDS_ALLOW] = "uids-allow",
	[CONF_API_SOCKET] = "api-socket",
	[CONF_API_STATE] = "api-state",
	[CONF_API_BIND] = "api-bind",
	[CONF_API_PORT] = "api-port",
	[CONF_API_CERT] = "api-cert",
	[CONF_API_KEY] = "api-key",
	[CONF_API_TOKENS] = "api-tokens",
	[CONF_USER_POLICIES] = "user-policies",
	[CONF_MIGRATIONS_MAX] = "migrations-max",
	[CONF_MIGRATIONS_KEPT] = "migrations-kept",
	[CONF_BANDWIDTH_MAX_MBIT] = "bandwidth-max-mbit",
	[CONF_WEBHOOKS] = "webhooks",
	[CONF_WEBHOOK_SECRET] = "webhook-secret",
	[CONF_WEBHOOK_EVENTS] = "webhook-events",
};

const char *conf_name(enum conf_key key)
{
	return names[key];
}

static char *trim(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	for (char *end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
		*--end = 0;
	return s;
}

static int known(const char *key)
{
	for (size_t i = 0; i < CONF_N; i++)
		if (!strcmp(key, names[i]))
			return 1;
	return 0;
}

int conf_get(const char *path, enum conf_key key, char *out, size_t bytes, struct err *e)
{
	AUTO(file) FILE *f = path ? fopen(path, "re") : NULL;
	char line[CONF_VALUE_BYTES];
	int found = 0;

	if (!f && path && errno != ENOENT)
		return err_sys(e, "%s", path);
	if (!f)
		return 0;
	for (unsigned int n = 1; fgets(line, sizeof(line), f); n++) {
		line[strcspn(line, "#")] = 0;
		char *k = trim(line), *eq = strchr(k, '=');

		if (!*k)
			continue;
		if (!eq)
			return err_set(e, ERR_USER, EINVAL, "%s:%u: no '=' in \"%s\"", path, n, k);
		*eq = 0;
		k = trim(k);
		if (!known(k))
			return err_set(e, ERR_USER, EINVAL, "%s:%u: unknown key \"%s\"", path, n,
			               k);
		if (!strcmp(k, names[key])) {
			snprintf(out, bytes, "%s", trim(eq + 1));
			found = 1;
		}
	}
	return found;
}

int conf_number(const char *path, enum conf_key key, unsigned int min, unsigned int max,
                unsigned int *out, struct err *e)
{
	char word[32], *end;
	int r = conf_get(path, key, word, sizeof(word), e);

	if (r <= 0)
		return r;
	unsigned long v = strtoul(word, &end, 10);

	if (!*word || *end || *word == '-' || v < min || v > max)
		return err_set(e, ERR_USER, ERANGE, "%s: %s = %s: not a number from %u to %u", path,
		               names[key], word, min, max);
	*out = (unsigned int)v;
	return 1;
}

/* The CRIU that contrib/find-criu chose: its path is the first line. */
static int chosen(char *out, size_t bytes)
{
	AUTO(file) FILE *f = fopen(CONF_CRIU_CHOSEN, "re");

	if (!f || !fgets(out, (int)bytes, f))
		return 0;
	out[strcspn(out, "\n")] = 0;
	return access(out, X_OK) == 0;
}

static int in_path(char *out, size_t bytes)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/sbin", "/usr/local/bin",
		                            "/usr/bin", "/sbin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(out, bytes, "%s/criu", dirs[i]);
		if (access(out, X_OK) == 0)
			return 1;
	}
	return 0;
}

int conf_criu(char *out, size_t bytes, const char *option, const char *config, struct err *e)
{
	if (option) {
		snprintf(out, bytes, "%s", option);
		return 0;
	}
	int r = conf_get(config, CONF_CRIU, out, bytes, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (HAUL_CRIU_DEFAULT[0]) {
		snprintf(out, bytes, "%s", HAUL_CRIU_DEFAULT);
		return 0;
	}
	if (chosen(out, bytes) || in_path(out, bytes))
		return 0;
	err_set(e, ERR_USER, ENOENT, "no CRIU on this host");
	return err_fix(e, "run contrib/find-criu: it finds one that works with this kernel");
}
