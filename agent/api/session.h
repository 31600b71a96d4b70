/* SPDX-License-Identifier: GPL-2.0-or-later */
/* session.h - sessions of browsers: a random id stands for the token that opened it. */
#ifndef HAUL_AGENT_API_SESSION_H
#define HAUL_AGENT_API_SESSION_H

#define SESSION_ID_BYTES 65 /* 64 hexadecimal digits and the end */
#define SESSION_LIMIT_S  28800

/**
 * session_new() - open a session
 * @hash: the SHA-256 of its token, 64 hexadecimal digits
 * A token has at most 16 sessions: the oldest makes room.
 * Return: 0; -errno when the kernel gives no random numbers
 */
int session_new(const char *hash, char id[SESSION_ID_BYTES]);
/** session_hash() - Return: the hash of the token of an open session, borrowed; NULL: none */
const char *session_hash(const char *id);
/** session_end() - close it, if it is open */
void session_end(const char *id);

#endif
