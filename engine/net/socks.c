// SPDX-License-Identifier: GPL-2.0-or-later
/* socks.c - the TCP sockets of a tree: our copies, their addresses, repair mode. */
#include "engine/net/net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/array.h"
#include "common/log.h"
#include "common/host/nofile.h"
#include "engine/net/netlink.h"

#define ROOM_EXTRA 512

/* <linux/tcp.h> has the options, but not the states, and <netinet/tcp.h> clashes with it */
enum { ST_ESTABLISHED = 1, ST_SYN_SENT, ST_SYN_RECV, ST_CLOSE = 7, ST_LISTEN = 10, ST_N = 13 };

static const char *const states[ST_N] = { "?",           "established", "connecting", "half-open",
	                                  "closing",     "half-closed", "time-wait",  "closed",
	                                  "half-closed", "last-ack",    "listening",  "closing",
	                                  "half-open" };

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family && !memcmp(a->b, b->b, a->family == AF_INET ? 4 : 16);
}

bool net_addr_any(const struct net_addr *a)
{
	static const uint8_t zero[16];

	return !memcmp(a->b, zero, a->family == AF_INET ? 4 : 16);
}

bool net_addr_loopback(const struct net_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->family == AF_INET ? a->b[0] == IN_LOOPBACKNET : !memcmp(a->b, one, 16);
}

const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT])
{
	if (!inet_ntop(a->family, a->b, out, NET_ADDR_TEXT))
		snprintf(out, NET_ADDR_TEXT, "?");
	return out;
}

bool net_addr_take(const struct sockaddr_storage *ss, struct net_addr *a, uint16_t *port)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	memset(a, 0, sizeof(*a));
	if (ss->ss_family == AF_INET) {
		a->family = AF_INET;
		memcpy(a->b, &in->sin_addr, 4);
		*port = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		a->family = AF_INET;
		memcpy(a->b, in6->sin6_addr.s6_addr + 12, 4);
		*port = ntohs(in6->sin6_port);
	} else if (ss->ss_family == AF_INET6) {
		a->family = AF_INET6;
		memcpy(a->b, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
	} else {
		return false;
	}
	return true;
}

static int look_udp(int fd, struct net_sock *out)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	out->flow.udp = out->flow.listens = true;
	return getsockname(fd, (struct sockaddr *)&ss, &n) == 0 &&
	       net_addr_take(&ss, &out->flow.local, &out->flow.local_port) && out->flow.local_port;
}

/* State and ends of the socket @fd. Return: 1; 0: not bound, or of another kind */
static int look_sock(int fd, struct net_sock *out)
{
	struct tcp_info info = { 0 };
	struct sockaddr_storage ss;
	int protocol = 0, reuse = 0;
	socklen_t n = sizeof(protocol);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) < 0)
		return 0;
	if (protocol == IPPROTO_UDP)
		return look_udp(fd, out);
	if (protocol != IPPROTO_TCP)
		return 0;
	n = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0)
		return 0;
	n = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0 ||
	    !net_addr_take(&ss, &out->flow.local, &out->flow.local_port) || !out->flow.local_port)
		return 0;
	out->state = info.tcpi_state;
	out->flow.listens = info.tcpi_state == ST_LISTEN;
	if (out->flow.listens) {
		out->backlog =
		        info.tcpi_unacked; /* the kernel puts the backlog there while the socket listens */
		return 1;
	}
	n = sizeof(reuse);
	getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &n);
	out->reuse = reuse != 0;
	n = sizeof(ss);
	return getpeername(fd, (struct sockaddr *)&ss, &n) == 0 &&
	       net_addr_take(&ss, &out->flow.remote, &out->flow.remote_port);
}

bool net_sock_moves(const struct net_sock *s)
{
	return !s->flow.listens && s->state != ST_CLOSE && s->state != ST_SYN_RECV;
}

const char *net_sock_state(const struct net_sock *s)
{
	return s->state > 0 && s->state < ST_N ? states[s->state] : "?";
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Return: 1 it was seen before; 0 it is new, and counts as seen now; -ENOMEM */
static int seen(void **tree, uint64_t inode)
{
	uint64_t *node = malloc(sizeof(*node));

	if (!node)
		return -ENOMEM;
	*node = inode;
	uint64_t **at = tsearch(node, tree, by_number);

	if (!at || *at != node)
		free(node);
	return !at ? -ENOMEM : *at != node;
}

static int append(struct net_socks *s, const struct net_sock *one)
{
	if (array_grow(&s->v, s->n, &s->cap, sizeof(*s->v)) < 0)
		return -ENOMEM;
	s->v[s->n++] = *one;
	return 0;
}

struct walk {
	struct net_socks *out;
	bool listening;
	void *seen;
	pid_t pid;
	int pidfd;
	struct err *e;
};

static int collect_one(const struct walk *w, int number, uint64_t inode)
{
	struct net_sock one = { .pid = w->pid, .number = number, .inode = inode };
	AUTO(fd) int fd = (int)syscall(SYS_pidfd_getfd, w->pidfd, number, 0);

	if (fd < 0)
		return errno == EBADF || errno == ESRCH
		               ? 0
		               : err_sys(w->e, "descriptor %d of pid %d", number, w->pid);
	if (look_sock(fd, &one) <= 0 || (w->listening && (!one.flow.listens || one.flow.udp)))
		return 0;
	one.fd = fd;
	if (append(w->out, &one) < 0)
		return err_set(w->e, ERR_SYS, ENOMEM, "no memory for sockets");
	steal_fd(&fd);
	return 0;
}

static int collect_pid(struct walk *w, pid_t pid)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	char path[32], link[64];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	if (pidfd < 0 || !d)
		return errno == ESRCH || errno == ENOENT ? 0
		                                         : err_sys(w->e, "sockets of pid %d", pid);
	w->pid = pid;
	w->pidfd = pidfd;
	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);
		unsigned long long inode;

		link[n > 0 ? n : 0] = 0;
		if (sscanf(link, "socket:[%llu]", &inode) != 1)
			continue;
		r = seen(&w->seen, inode);
		if (r < 0)
			err_set(w->e, ERR_SYS, ENOMEM, "no memory for sockets");
		r = r == 0 ? collect_one(w, atoi(de->d_name), inode) : r < 0 ? r : 0;
	}
	return r;
}

void net_socks_room(const pid_t *pids, size_t n)
{
	size_t all = ROOM_EXTRA;
	char path[32];

	/* our copy of each socket of the tree */
	nofile_raise();
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/proc/%d/fd", pids[i]);
		AUTO(dir) DIR *d = opendir(path);

		while (d && readdir(d))
			all++;
	}
	AUTO(fd) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO(fd) int high = fcntl(null, F_DUPFD_CLOEXEC, (int)all);

	(void)high; /* best effort: without it this is only slower */
}

int net_socks_collect(const pid_t *pids, size_t n, bool listening, struct net_socks *out,
                      struct err *e)
{
	struct walk w = { .out = out, .listening = listening, .e = e };
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = collect_pid(&w, pids[i]);
	tdestroy(w.seen, free);
	return r;
}

int net_socks_take(const struct net_place *v, size_t n, struct net_socks *out, struct err *e)
{
	struct walk w = { .out = out, .pidfd = -1, .e = e };
	AUTO(fd) int pidfd = -1;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (v[i].pid != w.pid) {
			if (pidfd >= 0)
				close(steal_fd(&pidfd));
			w.pid = v[i].pid;
			w.pidfd = pidfd = (int)syscall(SYS_pidfd_open, w.pid, 0);
			if (pidfd < 0 && errno != ESRCH)
				return err_sys(e, "sockets of pid %d", w.pid);
		}
		if (pidfd >= 0 && v[i].inode)
			r = collect_one(&w, v[i].number, v[i].inode);
	}
	return r;
}

ssize_t net_socks_flows(const struct net_socks *s, struct net_flow **out)
{
	struct net_flow *v = calloc(s->n + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].flow.listens)
			v[n++] = s->v[i].flow;
	*out = v;
	return (ssize_t)n;
}

unsigned int net_socks_backlog(const struct net_socks *s)
{
	unsigned int n = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct net_sock now = { 0 };

		if (s->v[i].flow.listens && look_sock(s->v[i].fd, &now) > 0)
			n += now.backlog;
	}
	return n;
}

static void repair_off(const struct net_sock *k)
{
	int on = 0, off = 0, queue = TCP_NO_QUEUE, reuse = k->reuse;
	socklen_t n = sizeof(on);

	if (k->flow.listens || getsockopt(k->fd, IPPROTO_TCP, TCP_REPAIR, &on, &n) < 0 || !on)
		return;
	setsockopt(k->fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue));
	if (setsockopt(k->fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0)
		log_err("descriptor %d of pid %d stays in repair mode: %s", k->number, k->pid,
		        strerror(errno));
	setsockopt(k->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
}

void net_socks_repair_off(const struct net_socks *s)
{
	for (size_t i = 0; i < s->n; i++)
		repair_off(&s->v[i]);
}

/* The reset goes out now; the socket is closed with an error. */
static int disconnect(int fd)
{
	static const struct sockaddr none = { .sa_family = AF_UNSPEC };

	return connect(fd, &none, sizeof(none)) < 0 ? -errno : 0;
}

void net_sock_abort(const struct net_sock *s)
{
	repair_off(s);
	int r = disconnect(s->fd);

	if (r < 0)
		log_warn("descriptor %d of pid %d: its connection cannot be reset: %s", s->number,
		         s->pid, strerror(-r));
}

void net_sock_reset_at_end(const struct net_sock *s)
{
	static const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	repair_off(s);
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/*
 * There is no call that sets the error of a socket. A connection in repair mode needs no peer; when it is ended,
 * the kernel sets the error and sends a reset to the loopback's port 1, where nobody knows it.
 */
int net_sock_fail(int fd)
{
	struct sockaddr_in four = { .sin_family = AF_INET,
		                    .sin_port = htons(1),
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6,
		                    .sin6_port = htons(1),
		                    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int domain = 0, on = 1, off = TCP_REPAIR_OFF_NO_WP, reuse = 0;
	struct tcp_info info = { 0 };
	socklen_t n = sizeof(int), many = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &n) < 0 ||
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &many) < 0)
		return -errno;
	if (info.tcpi_state != ST_CLOSE)
		return -EISCONN;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		return -errno;
	int r = domain == AF_INET6 ? connect(fd, (struct sockaddr *)&six, sizeof(six))
	                           : connect(fd, (struct sockaddr *)&four, sizeof(four));

	r = r < 0 ? -errno : 0;
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse,
	           sizeof(reuse)); /* repair mode forgets it */
	if (r == 0)
		r = disconnect(fd);
	shutdown(fd, SHUT_RDWR); /* it is not connected, but is shut all the same */
	return r;
}

/*
 * connect() in repair mode takes 536 bytes for the peer's segment size and calculates with it; the
 * real size is set later, without a new calculation. Setting IP options, even none, does one.
 */
void net_socks_resegment(const struct net_socks *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct net_sock *k = &s->v[i];

		if (!net_sock_moves(k))
			continue;
		if (k->flow.local.family == AF_INET)
			setsockopt(k->fd, IPPROTO_IP, IP_OPTIONS, NULL, 0);
		else
			setsockopt(k->fd, IPPROTO_IPV6, IPV6_HOPOPTS, NULL, 0);
	}
}

static bool is_cut(const struct net_flow *s, const struct net_flow *f, size_t n)
{
	for (size_t i = 0; !s->listens && i < n; i++)
		if (f[i].cut && f[i].local_port == s->local_port &&
		    f[i].remote_port == s->remote_port && net_addr_equal(&f[i].local, &s->local) &&
		    net_addr_equal(&f[i].remote, &s->remote))
			return true;
	return false;
}

void net_socks_cut(const struct net_socks *s, const struct net_flow *f, size_t n)
{
	for (size_t i = 0; i < s->n; i++) {
		int r = is_cut(&s->v[i].flow, f, n) ? disconnect(s->v[i].fd) : 0;

		if (r < 0)
			log_warn("a connection that has lost its peer cannot be reset: %s",
			         strerror(-r));
	}
}

int net_peer_abort(const struct net_flow *f, struct err *e)
{
	AUTO(fd) int nl = netlink_open(NETLINK_SOCK_DIAG, e);
	AUTO(nl) struct nl_buf b = { 0 };
	struct inet_diag_req_v2 q = { .sdiag_family = f->local.family,
		                      .sdiag_protocol = IPPROTO_TCP,
		                      .idiag_states = ~0U };

	if (nl < 0)
		return nl;
	q.id.idiag_sport = htons(f->remote_port);
	q.id.idiag_dport = htons(f->local_port);
	memcpy(q.id.idiag_src, f->remote.b, sizeof(f->remote.b));
	memcpy(q.id.idiag_dst, f->local.b, sizeof(f->local.b));
	q.id.idiag_cookie[0] = q.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	netlink_begin(&b, SOCK_DESTROY, NLM_F_ACK, &q, sizeof(q));
	int r = netlink_talk(nl, &b, NULL, NULL, "end a connection of this host", e);

	if (r != -ENOENT)
		return r;
	err_clear(e); /* it has been closed already */
	return 0;
}

void net_socks_fini(struct net_socks *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i].fd);
	free(s->v);
	*s = (struct net_socks){ 0 };
}
