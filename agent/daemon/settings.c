// SPDX-License-Identifier: GPL-2.0-or-later
/* settings.c - the part of haul.conf that concerns hauld, and hauld --check-config: all faults at once. */
#include "agent/daemon/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/access.h"
#include "agent/api/api.h"
#include "agent/check/uids.h"
#include "common/auto.h"
#include "common/conf.h"
#include "common/hook.h"
#include "policies/policies.h"

#define RUNNING_DEFAULT  2
#define KEPT_DEFAULT     1000
#define POLICIES_OF_USER "default"

/* ---- one key each ---- */

enum kind { TEXT, NUMBER };

static const struct row {
	enum conf_key key;
	enum kind kind;
	size_t at, bytes; /* in struct api_conf */
	unsigned int min, max;
} rows[] = {
#define TEXT_ROW(key, field)                                                                       \
	{                                                                                          \
		key, TEXT, offsetof(struct api_conf, field),                                       \
		        sizeof(((struct api_conf *)0)->field), 0, 0                                \
	}
#define NUMBER_ROW(key, field, min, max)                                                           \
	{                                                                                          \
		key, NUMBER, offsetof(struct api_conf, field), sizeof(unsigned int), min, max      \
	}
	TEXT_ROW(CONF_API_SOCKET, socket),
	TEXT_ROW(CONF_API_STATE, state),
	TEXT_ROW(CONF_API_TOKENS, tokens),
	TEXT_ROW(CONF_API_BIND, bind),
	TEXT_ROW(CONF_API_CERT, cert),
	TEXT_ROW(CONF_API_KEY, key),
	TEXT_ROW(CONF_USER_POLICIES, user_policies),
	TEXT_ROW(CONF_WEBHOOKS, webhooks),
	TEXT_ROW(CONF_WEBHOOK_SECRET, webhook_secret),
	TEXT_ROW(CONF_WEBHOOK_EVENTS, webhook_events),
	NUMBER_ROW(CONF_API_PORT, port, 1, 65535),
	NUMBER_ROW(CONF_MIGRATIONS_MAX, running_max, 1, 256),
	NUMBER_ROW(CONF_MIGRATIONS_KEPT, kept_max, 10, 100000),
	NUMBER_ROW(CONF_BANDWIDTH_MAX_MBIT, bandwidth_mbit, 0, 1000000),
};

static int take_row(struct api_conf *c, const struct row *row, struct err *e)
{
	char *at = (char *)c + row->at;

	if (row->kind == NUMBER) {
		int r = conf_number(c->config, row->key, row->min, row->max,
		                    (unsigned int *)(void *)at, e);

		return r < 0 ? r : 0;
	}
	char word[CONF_VALUE_BYTES];
	int r = conf_get(c->config, row->key, word, sizeof(word), e);

	if (r <= 0)
		return r;
	if (strlen(word) < row->bytes)
		return strcpy(at, word), 0;
	return err_set(e, ERR_USER, ERANGE, "%s: %s: at most %zu characters", c->config,
	               conf_name(row->key), row->bytes - 1);
}

/* ---- rows that need each other ---- */

static int tls_complete(const struct api_conf *c, struct err *e)
{
	if (c->port == 0 || (c->cert[0] && c->key[0]))
		return 0;
	err_set(e, ERR_USER, EINVAL, "%s: api-port needs api-cert and api-key", c->config);
	return err_fix(
	        e, "name the files of a certificate and its key: the API serves TCP with TLS only");
}

static int hooks_complete(const struct api_conf *c, struct err *e)
{
	if (strcmp(c->webhook_events, "main") && strcmp(c->webhook_events, "all"))
		return err_set(e, ERR_USER, EINVAL, "%s: webhook-events = %s: must be main or all",
		               c->config, c->webhook_events);
	if (!c->webhooks[0] || c->webhook_secret[0])
		return 0;
	err_set(e, ERR_USER, EINVAL, "%s: webhooks need webhook-secret", c->config);
	return err_fix(e, "name a file with a secret, readable by root alone: events are "
	                  "signed with it");
}

int settings_load(struct api_conf *c, const char *path, struct err *e)
{
	int r = 0;

	*c = (struct api_conf){ .config = path,
		                .running_max = RUNNING_DEFAULT,
		                .kept_max = KEPT_DEFAULT,
		                .webhook_events = "main",
		                .user_policies = POLICIES_OF_USER,
		                .socket = API_SOCKET,
		                .state = API_STATE_DIR,
		                .tokens = API_TOKENS };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rows); i++)
		r = take_row(c, &rows[i], e);
	if (r)
		return r;
	r = tls_complete(c, e);
	return r ? r : hooks_complete(c, e);
}

/* ---- --check-config ---- */

static unsigned int complain(const struct err *e)
{
	fprintf(stderr, "hauld: %s\n", e->msg);
	if (e->fix[0])
		fprintf(stderr, "       %s\n", e->fix);
	return 1;
}

__attribute__((format(printf, 3, 4))) static unsigned int fault(const char *config,
                                                                enum conf_key key, const char *fmt,
                                                                ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "hauld: %s: %s: %s\n", config, conf_name(key), text);
	return 1;
}

/* A secret: no other user may read it. */
static unsigned int check_secret(const struct api_conf *c, enum conf_key key, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fault(c->config, key, "%s: %s", path, strerror(errno));
	if (st.st_mode & 077)
		return fault(c->config, key, "%s: other users may read it: chmod 600 %s", path,
		             path);
	return 0;
}

static unsigned int check_tokens(const struct api_conf *c)
{
	AUTO(file) FILE *f = fopen(c->tokens, "re");
	char line[512], name[64], role[16], hash[65], more[2];
	unsigned int bad = 0, n = 0;

	if (!f)
		return c->port ? fault(c->config, CONF_API_TOKENS, "%s: %s", c->tokens,
		                       strerror(errno))
		               : 0;
	while (fgets(line, sizeof(line), f)) {
		n++;
		if (line[strspn(line, " \t\n")] == 0 || line[strspn(line, " \t")] == '#')
			continue;
		if (sscanf(line, " %63s %15s %64s %1s", name, role, hash, more) != 3 ||
		    !access_role(role) || strspn(hash, "0123456789abcdef") != 64)
			bad += fault(c->config, CONF_API_TOKENS,
			             "%s:%u: not NAME read|operate|admin SHA256", c->tokens, n);
	}
	return bad + check_secret(c, CONF_API_TOKENS, c->tokens);
}

static unsigned int check_words(const struct api_conf *c)
{
	char copy[sizeof(c->user_policies)], *rest = copy, *w;
	unsigned int bad = 0;

	strcpy(copy, c->user_policies);
	while ((w = strsep(&rest, " ,"))) {
		struct policy p;
		struct err e = ERR_INIT;

		if (*w && pol_load(&p, w, &e) < 0)
			bad += fault(c->config, CONF_USER_POLICIES, "%s", e.msg);
	}
	return bad;
}

static unsigned int check_uids(const char *config)
{
	char allow[CONF_VALUE_BYTES], word[64];
	struct err e = ERR_INIT;

	if (conf_get(config, CONF_UIDS_ALLOW, allow, sizeof(allow), &e) <= 0 ||
	    !uids_fault(allow, word, sizeof(word)))
		return 0;
	return fault(config, CONF_UIDS_ALLOW, "%s: not UID, UID-UID or FINGERPRINT=UID", word);
}

static unsigned int check_hooks(const char *config)
{
	char path[1024];
	unsigned int bad = 0;
	struct err e = ERR_INIT;

	for (int p = 0; p < HOOK_N; p++) {
		enum conf_key key = hook_key(p);

		if (conf_get(config, key, path, sizeof(path), &e) > 0 && access(path, X_OK) < 0)
			bad += fault(config, key, "%s: %s", path, strerror(errno));
	}
	return bad;
}

int settings_check(const char *path, const char *criu_option)
{
	struct api_conf c;
	struct err e = ERR_INIT;
	char criu[512];
	unsigned int bad = 0;

	if (settings_load(&c, path, &e) < 0)
		return (int)complain(&e); /* the checks below would repeat it */
	if (conf_criu(criu, sizeof(criu), criu_option, path, &e) < 0)
		bad += complain(&e);
	else if (access(criu, X_OK) < 0)
		bad += fault(path, CONF_CRIU, "%s: %s", criu, strerror(errno));
	bad += check_hooks(path) + check_uids(path) + check_words(&c) + check_tokens(&c);
	if (c.webhooks[0])
		bad += check_secret(&c, CONF_WEBHOOK_SECRET, c.webhook_secret);
	err_clear(&e);
	if (c.port && (check_secret(&c, CONF_API_KEY, c.key) || api_check_tls(&c, &e) < 0))
		bad += e.src ? complain(&e) : 1;
	if (!bad)
		printf("%s: no fault\n", path);
	return bad ? 1 : 0;
}
