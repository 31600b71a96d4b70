// SPDX-License-Identifier: GPL-2.0-or-later
/* t-inspect-sockets.c - children with sockets of every kind, and what is found of them. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/insp-child.h"

#define SOCK_PATH "/var/tmp/t-inspect-socket"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* ---- UNIX ---- */

static int at_path(int type, const char *path, bool server)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, type, 0);

	strcpy(a.sun_path, path);
	if (server) {
		unlink(path);
		if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0)
			return -1;
		if (type != SOCK_DGRAM && listen(s, 4) < 0)
			return -1;
	} else if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0) {
		return -1;
	}
	return s;
}

static int own_pair(void *arg)
{
	int s[2], p[2];

	(void)arg;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0 ||
	       socketpair(AF_UNIX, SOCK_DGRAM, 0, p) < 0 || dup(s[0]) < 0;
}

static int ended_pair(void *arg)
{
	int s[2];

	(void)arg;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0 || close(s[1]) < 0;
}

static int listens(void *arg)
{
	(void)arg;
	return at_path(SOCK_STREAM, SOCK_PATH, true) < 0;
}

static int connects(void *arg)
{
	(void)arg;
	return at_path(SOCK_STREAM, SOCK_PATH, false) < 0;
}

static int sends(void *arg)
{
	(void)arg;
	return at_path(SOCK_DGRAM, SOCK_PATH, false) < 0;
}

/* A datagram socket that goes to us by name: CRIU can do that with ext_unix. */
static void datagram(void)
{
	int s = at_path(SOCK_DGRAM | SOCK_CLOEXEC, SOCK_PATH, true);
	pid_t pid = t_child(sends, NULL);
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;

	CHECK(pid > 0 && i, "no child");
	if (!i)
		return;
	CHECK(t_find(i, "unix-datagram") && inspect_ext_unix(i), "to %s", SOCK_PATH);
	CHECK(inspect_findings(i)->blockers == 0, "%u", inspect_findings(i)->blockers);
	struct err e = ERR_INIT;
	Haul__Offer o = HAUL__OFFER__INIT;
	bool offered = false;

	CHECK(inspect_offer(i, &o, &e) == 0, "%s", e.msg);
	for (size_t k = 0; k < o.n_file; k++)
		offered |= !strcmp(o.file[k]->path, SOCK_PATH);
	CHECK(offered, "the name of the peer is not offered");
	t_end(pid);
	close(s);
}

static void unix_cases(void)
{
	int p[2];

	t_case("pair of its own", own_pair, NULL, NULL, SEV_INFO);
	t_case("pair whose peer has gone", ended_pair, NULL, NULL, SEV_INFO);
	t_case("listens", listens, NULL, "listening", SEV_INFO);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) == 0) {
		t_case_fd("half of a pair", p[0], "unix-outside", SEV_BLOCKER);
		close(p[0]);
		close(p[1]);
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, p) == 0) {
		t_case_fd("half of a nameless datagram pair", p[0], "unix-outside", SEV_BLOCKER);
		close(p[0]);
		close(p[1]);
	}
	int s = at_path(SOCK_STREAM | SOCK_CLOEXEC, SOCK_PATH, true);

	/* nobody accepts: the peer has no inode yet */
	t_case("connected, not accepted", connects, NULL, "unix-outside", SEV_BLOCKER);
	close(s);
	datagram();
	unlink(SOCK_PATH);
}

/* ---- internet ---- */

static int tcp_listener(in_addr_t ip, struct sockaddr_in *a)
{
	socklen_t n = sizeof(*a);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip) };
	if (bind(s, (struct sockaddr *)a, n) < 0 || listen(s, 4) < 0 ||
	    getsockname(s, (struct sockaddr *)a, &n) < 0)
		return -1;
	return s;
}

static int tcp_listens(void *arg)
{
	struct sockaddr_in a;

	(void)arg;
	return tcp_listener(INADDR_ANY, &a) < 0;
}

static int tcp_connects(void *arg)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);

	return connect(s, arg, sizeof(struct sockaddr_in)) < 0;
}

static int tcp6_listens(void *arg)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	int s = socket(AF_INET6, SOCK_STREAM, 0);

	(void)arg;
	return s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 ? 77 : listen(s, 4) < 0;
}

static int udp(void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	(void)arg;
	return bind(s, (struct sockaddr *)&a, sizeof(a)) < 0;
}

static int unbound(void *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_DGRAM, 0) < 0 ||
	       socket(AF_NETLINK, SOCK_RAW, 0) < 0 || socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

/* An address of this host that is not the loopback's. */
static in_addr_t own_address(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_addr.s_addr = htonl(0xc0000201), /* for documentation */
		                 .sin_port = htons(9) };
	socklen_t n = sizeof(a);
	AUTO(fd) int s = socket(AF_INET, SOCK_DGRAM, 0);

	/* nothing is sent: it only makes the kernel choose */
	if (connect(s, (struct sockaddr *)&a, n) < 0 ||
	    getsockname(s, (struct sockaddr *)&a, &n) < 0)
		return 0;
	return ntohl(a.sin_addr.s_addr);
}

static int bound(void *arg)
{
	struct sockaddr_in a;
	in_addr_t ip = own_address();

	(void)arg;
	return !ip || ip >> 24 == IN_LOOPBACKNET ? 77 : tcp_listener(ip, &a) < 0;
}

static int mptcp(void *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) < 0 ? 77 : 0;
}

static int vsock(void *arg)
{
	(void)arg;
	return socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 &&
	                       socket(AF_CAN, SOCK_RAW, 1) < 0
	               ? 77
	               : 0;
}

static int packet(void *arg)
{
	(void)arg;
	return socket(AF_PACKET, SOCK_DGRAM, 0) < 0 ? 77 : 0;
}

static void inet_cases(void)
{
	struct sockaddr_in a;
	int s = tcp_listener(INADDR_LOOPBACK, &a);

	t_case("listens on TCP", tcp_listens, NULL, "listening", SEV_INFO);
	t_case("listens on TCP, IPv6", tcp6_listens, NULL, "listening", SEV_INFO);
	t_case("listens on one address", bound, NULL, "address-bound", SEV_WARNING);
	t_case("TCP connection", tcp_connects, &a, "tcp-closed", SEV_WARNING);
	close(s);
	t_case("UDP", udp, NULL, "udp", SEV_INFO);
	t_case("not bound", unbound, NULL, NULL, SEV_INFO);
	t_case("MPTCP", mptcp, NULL, "mptcp", SEV_BLOCKER);
	t_case("vsock or crypto", vsock, NULL, "socket-kind", SEV_BLOCKER);
	t_case("packet socket", packet, NULL, "packet-socket", SEV_WARNING);
}

/* What listens is offered, by the address and number that the other host must have free. */
static void offered_ports(void)
{
	struct err e = ERR_INIT;
	Haul__Offer o = HAUL__OFFER__INIT;
	pid_t pid = t_child(tcp_listens, NULL);
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;

	CHECK(pid > 0 && i, "no child");
	if (!i)
		return;
	CHECK(inspect_offer(i, &o, &e) == 0 && o.n_port == 1, "%zu ports %s", o.n_port, e.msg);
	if (o.n_port == 1) {
		const Haul__Port *p = o.port[0];
		char word[40];

		snprintf(word, sizeof(word), "TCP port %u of 0.0.0.0", p->port);
		CHECK(!p->udp && p->address.len == 4 && !p->address.data[0], "port %u", p->port);
		CHECK(strstr(t_find(i, "listening")->text, word), "not %s", word);
	}
	t_end(pid);
}

int main(void)
{
	if (t_need_root())
		return 77;
	unix_cases();
	inet_cases();
	offered_ports();
	return checks_end();
}
