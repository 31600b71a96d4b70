/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transport-gate.h - what hauld and its porter do before a channel is there, in one thread. */
#ifndef HAUL_TESTS_TRANSPORT_GATE_H
#define HAUL_TESTS_TRANSPORT_GATE_H

#include "transport/gate.h"
#include "transport/priv.h"

#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "common/clock.h"

struct t_gate {
	struct gate gate;
	struct chan_server *porter;
	struct ticket ticket;
};

static inline bool t_gate_ask(void *arg, const char *print)
{
	struct t_gate *g = arg;

	return gate_issue(&g->gate, print, &g->ticket);
}

/* @s: whose connections these are; borrowed */
static inline int t_gate_open(struct t_gate *g, const struct chan_server *s, struct err *e)
{
	int r = gate_open(&g->gate, s, e);

	return r < 0 || g->porter ? r : chan_server_new_asking(&g->porter, t_gate_ask, g, e);
}

static inline void t_gate_close(struct t_gate *g)
{
	chan_server_free(g->porter);
}

/* A login: it ends with a ticket. @fd: taken */
static inline int t_gate_login(struct t_gate *g, int fd, unsigned int limit_ms, struct err *e)
{
	AUTO(chan) struct chan *ch = NULL;
	struct iovec io = { &g->ticket, sizeof(g->ticket) };
	int r = chan_accept(&ch, fd, g->porter, limit_ms, e);

	return r < 0 ? r : chan_write(ch, &io, 1, deadline_in_ms(limit_ms), e);
}

/* Return: 1 *fd has entered; 0 it was a login, or has no ticket; <0 it failed; *fd is closed but for 1 */
static inline int t_gate_hear(struct t_gate *g, int fd, unsigned int limit_ms, uint64_t *route,
                              struct err *e)
{
	uint8_t challenge[PREAMBLE_CHALLENGE_BYTES], hello[PREAMBLE_GREETING_MAX];
	uint8_t said[PREAMBLE_BYTES];
	struct preamble p;

	if (getrandom(challenge, sizeof(challenge), 0) != sizeof(challenge))
		return -EIO;
	send(fd, hello, preamble_greet(hello, challenge, g->gate.host_key), MSG_NOSIGNAL);
	if (recv(fd, said, sizeof(said), MSG_WAITALL) != sizeof(said) ||
	    preamble_get(said, &p, e) < 0) {
		close(fd);
		return -EPROTO;
	}
	*route = p.route;
	if (p.wants == PREAMBLE_LOGIN)
		return t_gate_login(g, fd, limit_ms, e);
	if (gate_admits(&g->gate, challenge, said))
		return 1;
	preamble_refuse(hello, PREAMBLE_NO_TICKET);
	send(fd, hello, PREAMBLE_HEAD_BYTES, MSG_NOSIGNAL);
	close(fd);
	return 0;
}

/* The next channel at @listener; logins before it are served. */
static inline int t_gate_accept(struct t_gate *g, int listener, unsigned int limit_ms,
                                struct chan **out, uint64_t *route, struct err *e)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		int r = fd < 0 ? -errno : t_gate_hear(g, fd, limit_ms, route, e);

		if (r < 0)
			return r;
		if (r == 1)
			return chan_accept(out, fd, g->gate.server, limit_ms, e);
	}
}

#endif
