// SPDX-License-Identifier: GPL-2.0-or-later
/* tcp.c - established connections: which move, which are closed, which forbid the move. */
#include "hauler/inspect/priv.h"

#include <errno.h>
#include <string.h>

#include "common/array.h"

#define TEXT_BYTES (2 * NET_ADDR_TEXT + 32)

bool inspect_goes_along(const struct inspect *i, const struct net_addr *a)
{
	for (size_t k = 0; k < i->net.n_moves; k++)
		if (net_addr_equal(&i->net.moves[k].addr, a))
			return true;
	return false;
}

int inspect_conn(struct inspect *i, const struct net_sock *s)
{
	if (array_grow(&i->conns.v, i->conns.n, &i->conns.cap, sizeof(*i->conns.v)) < 0)
		return -ENOMEM;
	i->conns.v[i->conns.n++] = (struct inspect_conn){ .sock = *s };
	return 0;
}

/* Is the other end in the tree as well? */
static bool is_inner(const struct inspect *i, const struct net_flow *f)
{
	for (size_t k = 0; k < i->conns.n; k++) {
		const struct net_flow *o = &i->conns.v[k].sock.flow;

		if (o->local_port == f->remote_port && o->remote_port == f->local_port &&
		    net_addr_equal(&o->local, &f->remote) && net_addr_equal(&o->remote, &f->local))
			return true;
	}
	return false;
}

static int add_local(struct inspect *i, const struct net_addr *a)
{
	for (size_t k = 0; k < i->locals.n; k++)
		if (net_addr_equal(&i->locals.v[k], a))
			return 0;
	if (array_grow(&i->locals.v, i->locals.n, &i->locals.cap, sizeof(*i->locals.v)) < 0)
		return -ENOMEM;
	i->locals.v[i->locals.n++] = *a;
	return 0;
}

static const char *conn_text(const struct net_sock *s, char out[TEXT_BYTES])
{
	char a[NET_ADDR_TEXT], b[NET_ADDR_TEXT];

	snprintf(out, TEXT_BYTES, "%s port %u with %s port %u", net_addr_text(&s->flow.local, a),
	         s->flow.local_port, net_addr_text(&s->flow.remote, b), s->flow.remote_port);
	return out;
}

/* The peer's address leads elsewhere, or means another host, afterwards. */
static int say_stays(struct inspect *i, const struct net_sock *s, const char *text)
{
	return inspect_say(i, SEV_WARNING, "tcp-local-peer",
	                   "its peer has to connect again, to the destination",
	                   "descriptor %d of pid %d: TCP %s will be reset: the peer is on this "
	                   "host and uses an address that does not lead to the destination",
	                   s->number, s->pid, text);
}

static int say_moves(struct inspect *i, const struct net_sock *s, const char *text)
{
	bool inner = is_inner(i, &s->flow), along = inspect_goes_along(i, &s->flow.local);

	if (!inner && (net_addr_loopback(&s->flow.local) ||
	               (along && inspect_goes_along(i, &s->flow.remote))))
		return say_stays(i, s, text);
	if (!along && !net_addr_loopback(&s->flow.local) && add_local(i, &s->flow.local) < 0)
		return -ENOMEM;
	return inspect_say(i, SEV_INFO, "tcp-moves", NULL,
	                   "descriptor %d of pid %d: TCP %s (%s) moves%s", s->number, s->pid, text,
	                   net_sock_state(s),
	                   inner   ? ", with its other end"
	                   : along ? ", with its address"
	                           : "; the destination has to have the address");
}

static int say_one(struct inspect *i, const struct net_sock *s)
{
	char text[TEXT_BYTES];

	conn_text(s, text);
	if (i->net.tcp == TCP_MOVE_THEM && net_sock_moves(s))
		return say_moves(i, s, text);
	if (i->net.tcp == TCP_REFUSE_THEM)
		return inspect_say(i, SEV_BLOCKER, "tcp-open",
		                   "--tcp=close closes them, --move-address=ADDR moves them",
		                   "descriptor %d of pid %d: TCP %s is open", s->number, s->pid,
		                   text);
	return inspect_say(i, SEV_WARNING, "tcp-closed",
	                   "clients have to connect again, to the destination; --move-address=ADDR "
	                   "moves the address and its connections",
	                   "descriptor %d of pid %d: TCP %s will be closed", s->number, s->pid,
	                   text);
}

int inspect_orphan(struct inspect *i, const struct net_sock *s, uint32_t bytes)
{
	char text[TEXT_BYTES];

	if (s->flow.listens || !inspect_goes_along(i, &s->flow.local))
		return 0;
	return inspect_say(i, SEV_WARNING, "tcp-orphan",
	                   "--quiet-limit-ms=N waits this long for it, then its peer is reset; ss "
	                   "-to state all shows it",
	                   "TCP %s was closed by its program with %u bytes left to send: it has no "
	                   "descriptor, so it cannot move",
	                   conn_text(s, text), bytes);
}

int inspect_tcp(struct inspect *i)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < i->conns.n; k++)
		r = say_one(i, &i->conns.v[k].sock);
	return r;
}
