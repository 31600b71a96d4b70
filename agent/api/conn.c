// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * conn.c - connections: no user of this host may have them all, and a request must arrive
 * within a time limit, however slowly its bytes drip.
 */
#include "agent/api/conn.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/auto.h"
#include "common/clock.h"

#define REQUEST_LIMIT_US 60000000 /* from the first byte to the last, TLS included */
#define RECENT_US        500000
#define OF_USER_MAX      50 /* connections of a local user other than root */
#define USERS_MAX        800 /* of all of them, of API_CONNECTIONS */
#define NO_UID           ((uid_t)-1) /* of a TLS connection */

struct conn {
	struct conn *next, **at;
	int fd;
	uid_t uid;
	uint64_t since_us;
	bool busy; /* its request has arrived: the limit is off */
};

static struct conn *all;

/* Users together never have all connections: some stay free for root. */
static bool too_many(uid_t uid)
{
	unsigned int own = 0, users = 0;

	for (const struct conn *k = all; k; k = k->next) {
		own += k->uid == uid;
		users += k->uid && k->uid != NO_UID;
	}
	return own >= OF_USER_MAX || users >= USERS_MAX;
}

static void begin(struct MHD_Connection *c, void **context)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(
	        c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct conn *k = calloc(1, sizeof(*k));
	struct ucred u = { .uid = 0 };
	socklen_t n = sizeof(u);

	if (!k || !i) {
		free(k);
		return;
	}
	k->fd = i->connect_fd;
	k->since_us = now_us();
	if (getsockopt(k->fd, SOL_SOCKET, SO_PEERCRED, &u, &n) == 0)
		k->uid = u.uid;
	if (k->uid && k->uid != NO_UID && too_many(k->uid))
		shutdown(k->fd, SHUT_RDWR);
	k->next = all;
	k->at = &all;
	if (all)
		all->at = &k->next;
	all = k;
	*context = k;
}

static void end(void **context)
{
	struct conn *k = *context;

	if (!k)
		return;
	*k->at = k->next;
	if (k->next)
		k->next->at = k->at;
	free(k);
	*context = NULL;
}

void conn_notify(void *arg, struct MHD_Connection *c, void **context, int what)
{
	(void)arg;
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		begin(c, context);
	else
		end(context);
}

void conn_busy(struct MHD_Connection *c, bool busy)
{
	const union MHD_ConnectionInfo *i = MHD_get_connection_info(
	        c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct conn *k = i ? i->socket_context : NULL;

	if (!k)
		return;
	k->busy = busy;
	k->since_us = now_us();
}

bool conn_recent(void)
{
	uint64_t now = now_us();

	for (const struct conn *k = all; k; k = k->next)
		if (now - k->since_us < RECENT_US)
			return true;
	return false;
}

void conn_tick(void)
{
	uint64_t now = now_us();

	for (const struct conn *k = all; k; k = k->next)
		if (!k->busy && now - k->since_us > REQUEST_LIMIT_US)
			shutdown(k->fd, SHUT_RDWR);
}
