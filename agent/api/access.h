/* SPDX-License-Identifier: GPL-2.0-or-later */
/* access.h - who makes a request, and in which role. */
#ifndef HAUL_AGENT_API_ACCESS_H
#define HAUL_AGENT_API_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A token has one of the last three. Users of the socket other than root are ROLE_USER: they
 * see and move their own processes only.
 */
enum role { ROLE_NOBODY, ROLE_USER, ROLE_READ, ROLE_OPERATE, ROLE_ADMIN };

struct who {
	enum role role;
	uid_t uid; /* of ROLE_USER */
	char name[64];
	bool cookie; /* known by a session's cookie, which a browser sends by itself */
};

struct req;

/**
 * access_who() - the sender of @q: the kernel's word at the socket, a token over TLS
 * Return: 0; 401 or 429, the status to answer with
 */
int access_who(struct req *q, bool tls, struct who *out);

/**
 * access_session() - open a session for the token that a browser shows
 * @id: receives what the cookie holds, SESSION_ID_BYTES
 * Return: 0; 401, 429 or 503, the status to answer with
 */
int access_session(struct req *q, const char *token, struct who *out, char *id);

/**
 * access_same_origin() - does @q come from a page of this server, as far as the browser says?
 * @need: a request that says neither Origin nor Sec-Fetch-Site does not
 */
bool access_same_origin(const struct req *q, bool need);

/** access_role() - Return: the role of that name; ROLE_NOBODY when there is none */
enum role access_role(const char *word);

#endif
