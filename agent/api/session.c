// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * session.c - sessions of browsers. They live in this process only: a restart of the API ends
 * them all, and so does the end of their time, whatever the browser does.
 */
#include "agent/api/session.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/auto.h"
#include "common/clock.h"

#define SESSIONS_MAX 256
#define OF_TOKEN_MAX 16

static struct session {
	char id[SESSION_ID_BYTES], hash[65]; /* id: "" when the entry is free */
	uint64_t since_us;
} sessions[SESSIONS_MAX];

static bool open_now(const struct session *s)
{
	return s->id[0] && now_us() - s->since_us < SESSION_LIMIT_S * 1000000ull;
}

/* The oldest of this token when it has all that it may have; else a free one, or the oldest of all */
static struct session *entry(const char *hash)
{
	struct session *of_token = NULL, *other = sessions;
	unsigned int n = 0;

	for (struct session *s = sessions; s < sessions + SESSIONS_MAX; s++) {
		if (!open_now(s)) {
			*s = (struct session){ 0 };
		} else if (!strcmp(s->hash, hash)) {
			n++;
			if (!of_token || s->since_us < of_token->since_us)
				of_token = s;
		}
		if (s->since_us < other->since_us)
			other = s;
	}
	return n >= OF_TOKEN_MAX ? of_token : other;
}

static struct session *find(const char *id)
{
	struct session *found = NULL;

	if (strlen(id) != SESSION_ID_BYTES - 1)
		return NULL;
	/* every entry, and all of each: the time taken gives nothing away */
	for (struct session *s = sessions; s < sessions + SESSIONS_MAX; s++)
		if (gnutls_memcmp(s->id, id, SESSION_ID_BYTES - 1) == 0 && open_now(s))
			found = s;
	return found;
}

int session_new(const char *hash, char id[SESSION_ID_BYTES])
{
	uint8_t random[(SESSION_ID_BYTES - 1) / 2];
	struct session *s = entry(hash);

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EAGAIN;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	*s = (struct session){ .since_us = now_us() };
	memcpy(s->id, id, SESSION_ID_BYTES);
	snprintf(s->hash, sizeof(s->hash), "%s", hash);
	return 0;
}

const char *session_hash(const char *id)
{
	const struct session *s = find(id);

	return s ? s->hash : NULL;
}

void session_end(const char *id)
{
	struct session *s = find(id);

	if (s)
		*s = (struct session){ 0 };
}
