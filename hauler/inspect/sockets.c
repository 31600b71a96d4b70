// SPDX-License-Identifier: GPL-2.0-or-later
/* sockets.c - TCP, UDP and all other sockets: what becomes of each. */
#include "engine/net/sock_diag.h"
#include "hauler/inspect/priv.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define EXT_ALL 0xff /* with some of them the kernel tells keys, too */

struct inet {
	struct inspect *i;
	struct inspect_ends *left;
	uint8_t protocol;
	const char *word; /* of the protocol */
};

/* ---- sockets that the kernel lists ---- */

/* An address that every host has: unspecified, or loopback. */
static bool is_everywhere(const struct inet_diag_msg *m)
{
	const struct in6_addr *a = (const struct in6_addr *)m->id.idiag_src;

	if (m->idiag_family == AF_INET)
		return !m->id.idiag_src[0] || ntohl(m->id.idiag_src[0]) >> 24 == IN_LOOPBACKNET;
	if (IN6_IS_ADDR_V4MAPPED(a))
		return !a->s6_addr32[3] || ntohl(a->s6_addr32[3]) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a);
}

static int say_bound(struct inet *in, const struct inspect_end *end, const struct inet_diag_msg *m)
{
	char addr[INET6_ADDRSTRLEN] = "?";
	unsigned int port = ntohs(m->id.idiag_sport);

	struct net_sock s;

	inet_ntop(m->idiag_family, m->id.idiag_src, addr, sizeof(addr));
	inspect_sock_of(m, end, &s);
	if (inspect_goes_along(in->i, &s.flow.local))
		return inspect_say(in->i, SEV_INFO, "address-moves", NULL,
		                   "%s port %u of %s moves, with its address", in->word, port,
		                   addr);
	if (!is_everywhere(m))
		return inspect_say(
		        in->i, SEV_WARNING, "address-bound",
		        "give the destination that address, or set "
		        "net.ipv4.ip_nonlocal_bind=1 (and ipv6) there, or use 0.0.0.0",
		        "descriptor %d of pid %d is bound to %s %s port %u: the destination "
		        "must have that address",
		        end->fd, end->pid, in->word, addr, port);
	return inspect_say(in->i, SEV_INFO, m->idiag_state == TCP_LISTEN ? "listening" : "udp",
	                   NULL, "%s port %u of %s stays open at the destination", in->word, port,
	                   addr);
}

/* Connections that the tree has not accepted: CRIU has no descriptor to dump. */
static int say_backlog(struct inet *in, const struct inet_diag_msg *m)
{
	bool waits = in->i->net.tcp == TCP_MOVE_THEM ||
	             (in->i->net.tcp == TCP_BY_ADDRESS && in->i->net.n_moves);

	if (m->idiag_state != TCP_LISTEN || !m->idiag_rqueue)
		return 0;
	return inspect_say(
	        in->i, SEV_WARNING, "backlog",
	        waits ? "haul waits --quiet-limit-ms for the program to accept them before "
	                "the stop; the others are reset"
	              : "clients have to connect again, to the destination",
	        "%u connections to TCP port %u are not accepted yet", m->idiag_rqueue,
	        ntohs(m->id.idiag_sport));
}

/*
 * Datagrams that CRIU does not dump are sent again by haul to their address, if the destination has
 * it.
 */
static int say_datagrams(struct inet *in, const struct inspect_end *end,
                         const struct inet_diag_msg *m)
{
	struct net_sock s;

	if (in->protocol != IPPROTO_UDP || !m->idiag_rqueue)
		return 0;
	inspect_sock_of(m, end, &s);
	if ((in->i->net.tcp == TCP_MOVE_THEM ||
	     (in->i->net.tcp == TCP_BY_ADDRESS && in->i->net.n_moves)) &&
	    (net_addr_any(&s.flow.local) || net_addr_loopback(&s.flow.local) ||
	     inspect_goes_along(in->i, &s.flow.local)))
		return inspect_say(in->i, SEV_INFO, "datagrams", NULL,
		                   "%u bytes are queued at UDP port %u; those sent to the loopback "
		                   "or to a moved address move",
		                   m->idiag_rqueue, s.flow.local_port);
	return inspect_say(in->i, SEV_WARNING, "datagrams",
	                   "with --tcp=move or --move-address, those sent to the loopback or to a "
	                   "moved address move",
	                   "%u bytes that are queued at UDP port %u will be lost", m->idiag_rqueue,
	                   s.flow.local_port);
}

static int on_inet(void *arg, const struct nlmsghdr *h)
{
	struct inet *in = arg;
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct inspect_end end;
	struct net_sock s;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(*m)) && !m->idiag_inode && m->idiag_wqueue) {
		inspect_sock_of(m, &(struct inspect_end){ 0 }, &s);
		return inspect_orphan(in->i, &s, m->idiag_wqueue);
	}
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || !m->idiag_inode ||
	    !inspect_end_take(in->left, m->idiag_inode, &end))
		return 0;
	while (inspect_end_take(in->left, m->idiag_inode, NULL))
		; /* its other descriptors */
	if (inspect_keys(in->i, &end, h) < 0)
		return -ENOMEM;
	if (in->protocol == IPPROTO_TCP && m->idiag_state != TCP_LISTEN) {
		inspect_sock_of(m, &end, &s);
		return m->idiag_state == TCP_CLOSE ? 0 : inspect_conn(in->i, &s);
	}
	int r = inspect_port(in->i, &end, m, in->protocol == IPPROTO_UDP);

	if (r < 0)
		return r;
	r = say_backlog(in, m);
	if (r < 0)
		return r;
	r = say_datagrams(in, &end, m);
	return r < 0 ? r : say_bound(in, &end, m);
}

static int dump(struct inet *in, uint8_t family)
{
	struct inet_diag_req_v2 req = { .sdiag_family = family,
		                        .sdiag_protocol = in->protocol,
		                        .idiag_ext = in->protocol == IPPROTO_TCP ? EXT_ALL : 0,
		                        .idiag_states = ~0U };

	return sock_diag_dump(&req, sizeof(req), on_inet, in);
}

static int dump_both(struct inet *in)
{
	int r = in->left->n ? dump(in, AF_INET) : 0;

	return r || !in->left->n ? r : dump(in, AF_INET6);
}

static int look_protocol(struct inet *in, uint8_t protocol, const char *word, const char *module)
{
	in->protocol = protocol;
	in->word = word;
	int r = dump_both(in);

	if (r < 0 && r != -ENOMEM)
		r = inspect_say(in->i, SEV_WARNING, "no-diag",
		                protocol == IPPROTO_TCP ? "modprobe tcp_diag, which CRIU needs too"
		                                        : "modprobe udp_diag, which CRIU needs too",
		                "the kernel does not list %s sockets (module %s): %s", word, module,
		                strerror(-r));
	return r;
}

/* ---- the others: not bound yet, or of special kinds ---- */

static bool is_inet_ok(int type, int protocol)
{
	return type == SOCK_RAW || ((type == SOCK_STREAM || type == SOCK_DGRAM) &&
	                            (protocol == IPPROTO_IP || protocol == IPPROTO_TCP ||
	                             protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
	                             protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6));
}

static int say_plain(struct inspect *i, const struct inspect_end *end, int domain, int type)
{
	return inspect_say(i, SEV_INFO, "socket-moves", NULL,
	                   "descriptor %d of pid %d: %s %s socket that is not connected moves",
	                   end->fd, end->pid,
	                   domain == AF_UNIX      ? "UNIX"
	                   : domain == AF_NETLINK ? "netlink"
	                   : domain == AF_INET    ? "IPv4"
	                                          : "IPv6",
	                   type == SOCK_STREAM  ? "stream"
	                   : type == SOCK_DGRAM ? "datagram"
	                                        : "raw");
}

/* Kinds that criu/sockets.c and sk-inet.c of CRIU 4.2 refuse. */
static int say_kind(struct inspect *i, const struct inspect_end *end, int domain, int type,
                    int protocol)
{
	if (domain == AF_UNIX || domain == AF_NETLINK)
		return say_plain(i, end, domain, type);
	if (domain == AF_PACKET)
		return inspect_say(i, SEV_WARNING, "packet-socket",
		                   "the interface must have the same number there (ip link)",
		                   "descriptor %d of pid %d is a packet socket of an interface",
		                   end->fd, end->pid);
	if ((domain == AF_INET || domain == AF_INET6) && is_inet_ok(type, protocol))
		return say_plain(i, end, domain, type);
	if (protocol == IPPROTO_MPTCP && domain != AF_VSOCK)
		return inspect_say(
		        i, SEV_BLOCKER, "mptcp",
		        "switch it off: GODEBUG=multipathtcp=0 for Go programs, "
		        "net.mptcp.enabled=0",
		        "descriptor %d of pid %d is an MPTCP socket, which CRIU cannot dump",
		        end->fd, end->pid);
	return inspect_say(i, SEV_BLOCKER, "socket-kind",
	                   "start the program without it; CRIU cannot dump this kind",
	                   "descriptor %d of pid %d is a socket of family %d, type %d, protocol %d",
	                   end->fd, end->pid, domain, type, protocol);
}

static int look_other(struct inspect *i, const struct inspect_end *end)
{
	AUTO(fd) int fd = procs_copy_fd(end->pid, end->fd);
	int domain = 0, type = 0, protocol = 0;
	socklen_t n = sizeof(int);

	if (fd == -EBADF || fd == -ESRCH)
		return 0; /* closed meanwhile */
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) < 0)
		return inspect_say(i, SEV_WARNING, "unknown-socket", "see what CRIU says",
		                   "descriptor %d of pid %d is a socket that cannot be inspected",
		                   end->fd, end->pid);
	return say_kind(i, end, domain, type, protocol);
}

int inspect_sockets(struct inspect *i, struct inspect_ends *left)
{
	struct inet in = { .i = i, .left = left };
	int r = look_protocol(&in, IPPROTO_TCP, "TCP", "tcp_diag");

	if (r < 0)
		return r;
	r = look_protocol(&in, IPPROTO_UDP, "UDP", "udp_diag");
	for (size_t k = 0; r == 0 && k < left->n; k++)
		r = look_other(i, &left->v[k]);
	return r;
}
