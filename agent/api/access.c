// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * access.c - who makes a request. At the Unix socket the kernel says so; over TLS a token
 * does, of which only the SHA-256 is kept on this host.
 */
#include "agent/api/access.h"

#include <gnutls/crypto.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/api/api.h"
#include "agent/api/reply.h"
#include "agent/api/session.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

#define FAILURES_MAX   10 /* of an address, within FAILURES_US */
#define FAILURES_US    60000000
#define ADDRESSES_KEPT 64
#define TOKEN_BYTES    256

static struct failures {
	uint8_t addr[16];
	unsigned int n;
	uint64_t since_us;
} failures[ADDRESSES_KEPT];

static void address_of(struct MHD_Connection *c, uint8_t out[16])
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(
	        c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	memset(out, 0, 16);
	if (i && i->client_addr->sa_family == AF_INET6) {
		const struct in6_addr *a =
		        &((struct sockaddr_in6 *)(void *)i->client_addr)->sin6_addr;

		/* a host has a whole /64 to itself */
		if (IN6_IS_ADDR_V4MAPPED(a))
			memcpy(out, a->s6_addr + 12, 4);
		else
			memcpy(out, a->s6_addr, 8);
	} else if (i && i->client_addr->sa_family == AF_INET)
		memcpy(out, &((struct sockaddr_in *)(void *)i->client_addr)->sin_addr, 4);
}

/* Its entry, or the oldest one */
static struct failures *entry(const uint8_t addr[16])
{
	struct failures *oldest = failures;

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		if (!memcmp(failures[i].addr, addr, 16))
			return &failures[i];
		if (failures[i].since_us < oldest->since_us)
			oldest = &failures[i];
	}
	return oldest;
}

static void failed(struct MHD_Connection *c)
{
	uint8_t addr[16];
	uint64_t now = now_us();

	address_of(c, addr);
	struct failures *f = entry(addr);

	if (memcmp(f->addr, addr, 16) || now - f->since_us > FAILURES_US) {
		*f = (struct failures){ .since_us = now };
		memcpy(f->addr, addr, 16);
	}
	if (++f->n == FAILURES_MAX)
		log_warn("%u wrong tokens from one address: it must wait", f->n);
}

static bool barred(struct MHD_Connection *c)
{
	uint8_t addr[16];

	address_of(c, addr);
	const struct failures *f = entry(addr);

	return !memcmp(f->addr, addr, 16) && f->n >= FAILURES_MAX &&
	       now_us() - f->since_us < FAILURES_US;
}

static void sha256_hex(const char *text, char out[65])
{
	uint8_t sum[32] = { 0 };

	gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		sprintf(out + 2 * i, "%02x", sum[i]);
}

enum role access_role(const char *word)
{
	return !strcmp(word, "read")      ? ROLE_READ
	       : !strcmp(word, "operate") ? ROLE_OPERATE
	       : !strcmp(word, "admin")   ? ROLE_ADMIN
	                                  : ROLE_NOBODY;
}

/* Is a token with this SHA-256 in the file? It holds lines of NAME ROLE SHA256. */
static bool find_hash(const char *path, const char *given, struct who *out)
{
	AUTO(file) FILE *f = fopen(path, "re");
	char line[512], name[64], role[16], hash[65];
	bool found = false;

	if (!f)
		return false;
	/* every line, and all of each: the time taken gives nothing away */
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %63[^ #\n] %15s %64s", name, role, hash) == 3 &&
		    strlen(hash) == 64 && access_role(role) &&
		    gnutls_memcmp(hash, given, 64) == 0) {
			found = true;
			out->role = access_role(role);
			snprintf(out->name, sizeof(out->name), "%s", name);
		}
	return found;
}

/* Return: false when it is too short or too long to be a token */
static bool hash_token(const char *token, char hash[65])
{
	if (strlen(token) < 16 || strlen(token) > TOKEN_BYTES)
		return false;
	sha256_hex(token, hash);
	return true;
}

static int peer_of_socket(struct req *q, struct who *out)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(
	        q->c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred u;
	socklen_t n = sizeof(u);

	if (!i || getsockopt(i->connect_fd, SOL_SOCKET, SO_PEERCRED, &u, &n) < 0)
		return 401;
	out->uid = u.uid;
	out->role = u.uid == 0 ? ROLE_ADMIN : ROLE_USER;
	snprintf(out->name, sizeof(out->name), "uid %u", u.uid);
	return 0;
}

static int check_token(struct req *q, const char *token, struct who *out, char hash[65])
{
	if (barred(q->c))
		return 429;
	if (hash_token(token, hash) && find_hash(q->api->conf->tokens, hash, out))
		return 0;
	failed(q->c);
	return 401;
}

int access_session(struct req *q, const char *token, struct who *out, char *id)
{
	char hash[65];
	int r = check_token(q, token, out, hash);

	if (r)
		return r;
	return session_new(hash, id) < 0 ? 503 : 0;
}

/*
 * The session's token may have been taken out of the file. An old cookie is not a failed attempt:
 * its id cannot be guessed, and the browser sends it with each part of the page.
 */
static int session_of(const struct req *q, const char *id, struct who *out)
{
	const char *hash = session_hash(id);

	if (!hash || !find_hash(q->api->conf->tokens, hash, out))
		return 401;
	out->cookie = true;
	return 0;
}

int access_who(struct req *q, bool tls, struct who *out)
{
	const char *header = reply_header(q, "Authorization"), *id = reply_cookie(q);
	char hash[65];

	if (!tls)
		return peer_of_socket(q, out);
	if (header)
		return strncmp(header, "Bearer ", 7) ? 401 : check_token(q, header + 7, out, hash);
	return id ? session_of(q, id, out) : 401;
}

bool access_same_origin(const struct req *q, bool need)
{
	const char *origin = reply_header(q, "Origin"), *host = reply_header(q, "Host");
	const char *site = reply_header(q, "Sec-Fetch-Site");

	if (origin)
		return host && !strncmp(origin, "https://", 8) && !strcasecmp(origin + 8, host);
	return site ? !strcmp(site, "same-origin") || !strcmp(site, "none") : !need;
}
