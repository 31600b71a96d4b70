// SPDX-License-Identifier: GPL-2.0-or-later
/* tcp.c - established connections: which move, which are closed, which forbid the move. */
#include "hauler/inspect/priv.h"

#include <errno.h>
#include <string.h>

#include "common/array.h"

#define TEXT_BYTES   (2 * NET_ADDR_TEXT + 64 + INSPECT_COMM_MAX)
#define REMEDY_BYTES 256
#define EPMD_PORT    4369

/* ---- fates ---- */

static bool goes_along(const struct inspect_net *net, const struct net_addr *a)
{
	for (size_t k = 0; k < net->n_moves; k++)
		if (net_addr_equal(&net->moves[k].addr, a))
			return true;
	return false;
}

bool inspect_goes_along(const struct inspect *i, const struct net_addr *a)
{
	return goes_along(&i->net, a);
}

/* An address that both ends have on whichever host the tree is. */
static bool is_own(const struct inspect_net *net, const struct net_addr *a)
{
	return net_addr_loopback(a) || goes_along(net, a);
}

enum tcp_fate inspect_fate(const struct inspect_net *net, const struct net_flow *f, bool inner)
{
	bool along = goes_along(net, &f->local), near = net_addr_loopback(&f->local);
	bool own = (along || near) && is_own(net, &f->remote);

	switch (net->tcp) {
	case TCP_MOVE_THEM:
		return !inner && (near || own) ? TCP_FATE_CUT : TCP_FATE_MOVES;
	case TCP_REFUSE_THEM:
		return inner && own && !net->cannot_move ? TCP_FATE_MOVES : TCP_FATE_REFUSED;
	case TCP_BY_ADDRESS:
		if (inner)
			return own && !net->cannot_move ? TCP_FATE_MOVES : TCP_FATE_CLOSED;
		return !along ? TCP_FATE_CLOSED : own ? TCP_FATE_CUT : TCP_FATE_MOVES;
	default:
		return TCP_FATE_CLOSED;
	}
}

int inspect_conn(struct inspect *i, const struct net_sock *s)
{
	if (array_grow(&i->tcp.conns.v, i->tcp.conns.n, &i->tcp.conns.cap,
	               sizeof(*i->tcp.conns.v)) < 0)
		return -ENOMEM;
	i->tcp.conns.v[i->tcp.conns.n++] = (struct inspect_conn){ .sock = *s };
	return 0;
}

static int add_local(struct inspect *i, const struct net_addr *a)
{
	for (size_t k = 0; k < i->tcp.locals.n; k++)
		if (net_addr_equal(&i->tcp.locals.v[k], a))
			return 0;
	if (array_grow(&i->tcp.locals.v, i->tcp.locals.n, &i->tcp.locals.cap,
	               sizeof(*i->tcp.locals.v)) < 0)
		return -ENOMEM;
	i->tcp.locals.v[i->tcp.locals.n++] = *a;
	return 0;
}

/* ---- what is said of one ---- */

static const char *conn_text(const struct inspect_conn *c, char out[TEXT_BYTES])
{
	const struct net_flow *f = &c->sock.flow;
	char a[NET_ADDR_TEXT], b[NET_ADDR_TEXT];
	int n = snprintf(out, TEXT_BYTES, "%s port %u with %s port %u", net_addr_text(&f->local, a),
	                 f->local_port, net_addr_text(&f->remote, b), f->remote_port);

	if (c->peer_pid && n > 0 && n < TEXT_BYTES)
		snprintf(out + n, (size_t)(TEXT_BYTES - n), ", pid %d (%s) of this host,",
		         c->peer_pid, c->peer_comm);
	return out;
}

/* Erlang's port mapper forgets a node when the node's connection to it ends. */
static bool is_epmd(const struct inspect_conn *c)
{
	return !c->incoming && c->sock.flow.remote_port == EPMD_PORT &&
	       !strcmp(c->peer_comm, "epmd");
}

/* Which side has to do what about a connection that does not move. @out: room for it */
static const char *remedy(const struct inspect *i, const struct inspect_conn *c,
                          char out[REMEDY_BYTES])
{
	bool local = c->inner || c->peer || net_addr_loopback(&c->sock.flow.local);

	if (is_epmd(c))
		return "start epmd at the destination, where the node registers again: Erlang 25 "
		       "by "
		       "itself, within seconds; older ones by erl_epmd:register_node(Name, Port)";
	if (c->peer_pid && !c->incoming)
		snprintf(out, REMEDY_BYTES,
		         "the program has to connect again, to the %s of the destination",
		         c->peer_comm);
	else
		snprintf(out, REMEDY_BYTES, "%s to connect again%s",
		         c->incoming && !c->inner ? "clients have" : "the program has",
		         c->incoming && !c->inner ? ", to the destination" : "");
	if (!local && i->net.tcp != TCP_MOVE_THEM && !i->net.cannot_move) {
		size_t n = strlen(out);

		snprintf(out + n, REMEDY_BYTES - n,
		         "; --move-address=ADDR moves the address and its connections");
	}
	return out;
}

/* The peer's address leads elsewhere, or means another host, afterwards. */
static int say_cut(struct inspect *i, const struct inspect_conn *c, const char *text)
{
	char todo[REMEDY_BYTES];

	return inspect_say(i, SEV_WARNING, "tcp-local-peer", remedy(i, c, todo),
	                   "descriptor %d of pid %d: TCP %s will be reset: the peer is on this "
	                   "host and uses an address that does not lead to the destination",
	                   c->sock.number, c->sock.pid, text);
}

static int say_moves(struct inspect *i, const struct inspect_conn *c, const char *text)
{
	const struct net_flow *f = &c->sock.flow;
	bool along = inspect_goes_along(i, &f->local);

	if (!along && !net_addr_loopback(&f->local) && add_local(i, &f->local) < 0)
		return -ENOMEM;
	return inspect_say(i, SEV_INFO, "tcp-moves", NULL,
	                   "descriptor %d of pid %d: TCP %s (%s) moves%s", c->sock.number,
	                   c->sock.pid, text, net_sock_state(&c->sock),
	                   c->inner ? ", with its other end"
	                   : along  ? ", with its address"
	                            : "; the destination has to have the address");
}

static int say_closed(struct inspect *i, const struct inspect_conn *c, const char *text)
{
	char todo[REMEDY_BYTES];

	return inspect_say(i, SEV_WARNING, "tcp-closed", remedy(i, c, todo),
	                   "descriptor %d of pid %d: TCP %s will be closed", c->sock.number,
	                   c->sock.pid, text);
}

static int say_one(struct inspect *i, const struct inspect_conn *c)
{
	enum tcp_fate fate = net_sock_moves(&c->sock)
	                             ? inspect_fate(&i->net, &c->sock.flow, c->inner)
	                     : i->net.tcp == TCP_REFUSE_THEM ? TCP_FATE_REFUSED
	                                                     : TCP_FATE_CLOSED;
	char text[TEXT_BYTES];

	conn_text(c, text);
	i->moves_tcp |= fate == TCP_FATE_MOVES || fate == TCP_FATE_CUT;
	switch (fate) {
	case TCP_FATE_MOVES:
		return say_moves(i, c, text);
	case TCP_FATE_CUT:
		return say_cut(i, c, text);
	case TCP_FATE_REFUSED:
		return inspect_say(i, SEV_BLOCKER, "tcp-open",
		                   "--tcp=close closes them, --move-address=ADDR moves them",
		                   "descriptor %d of pid %d: TCP %s is open", c->sock.number,
		                   c->sock.pid, text);
	default:
		return say_closed(i, c, text);
	}
}

int inspect_orphan(struct inspect *i, const struct net_sock *s, uint32_t bytes)
{
	char text[TEXT_BYTES];
	struct inspect_conn c = { .sock = *s };

	if (s->flow.listens || !inspect_goes_along(i, &s->flow.local))
		return 0;
	return inspect_say(i, SEV_WARNING, "tcp-orphan",
	                   "--quiet-limit-ms=N waits this long for it, then its peer is reset; ss "
	                   "-to state all shows it",
	                   "TCP %s was closed by its program with %u bytes left to send: it has no "
	                   "descriptor, so it cannot move",
	                   conn_text(&c, text), bytes);
}

bool inspect_moves_tcp(const struct inspect *i)
{
	return i->moves_tcp;
}

int inspect_tcp(struct inspect *i)
{
	int r = i->tcp.conns.n ? inspect_peers(i) : 0;

	for (size_t k = 0; r == 0 && k < i->tcp.conns.n; k++)
		r = say_one(i, &i->tcp.conns.v[k]);
	return r;
}
