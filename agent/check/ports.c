// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ports.c - are the ports that the tree listens on free here? Reads the kernel's lists of sockets and
 * binds nothing.
 */
#include "agent/check/check.h"
#include "agent/check/rights.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/auto.h"
#include "common/printable.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"

#define TCP_STATE_LISTEN 0x0a
#define ADDR_WORDS       4

/* A socket by its own end; an IPv4 address is in the first word. */
struct end {
	bool v6, v6only;
	uint32_t addr[ADDR_WORDS]; /* network order */
	unsigned int port;
};

/* The process that has a socket here. */
struct owner {
	pid_t pid; /* 0: we cannot see it */
	char comm[32];
	bool v6only, shares; /* of its socket */
};

struct ports {
	const Haul__Offer *o;
	struct findings *out;
	bool udp, v6;
};

static bool is_any(const struct end *a)
{
	return !(a->addr[0] | a->addr[1] | a->addr[2] | a->addr[3]);
}

/* ::ffff:a.b.c.d is the IPv4 address. */
static void normalise(struct end *a)
{
	if (!a->v6 || a->addr[0] || a->addr[1] || a->addr[2] != htonl(0xffff))
		return;
	a->v6 = false;
	a->addr[0] = a->addr[3];
	a->addr[2] = a->addr[3] = 0;
}

/* The kernel's rule for two sockets on one port. */
static bool overlap(const struct end *a, const struct end *b)
{
	if (a->v6 != b->v6) {
		const struct end *six = a->v6 ? a : b;

		return is_any(six) && !six->v6only;
	}
	return is_any(a) || is_any(b) || !memcmp(a->addr, b->addr, sizeof(a->addr));
}

static bool has_socket(const char *fd_dir, unsigned long inode, int *fd)
{
	AUTO(dir) DIR *d = opendir(fd_dir);
	char want[40], link[40];

	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	for (struct dirent *de; d && (de = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = 0;
		if (strcmp(link, want))
			continue;
		*fd = (int)strtol(de->d_name, NULL, 10);
		return true;
	}
	return false;
}

static bool is_set(int fd, int level, int name)
{
	int v = 0;
	socklen_t n = sizeof(v);

	return getsockopt(fd, level, name, &v, &n) == 0 && v;
}

/* Options of the socket that the lists do not show: read from a copy of the descriptor. */
static void ask_socket(struct owner *w, int remote, unsigned int uid)
{
	AUTO(fd) int fd = procs_copy_fd(w->pid, remote);

	if (fd < 0)
		return;
	w->v6only = is_set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	/* CRIU sets both for the time of bind(), as user 0 */
	w->shares = is_set(fd, SOL_SOCKET, SO_REUSEADDR) ||
	            (uid == 0 && is_set(fd, SOL_SOCKET, SO_REUSEPORT));
}

static void find_owner(struct owner *w, unsigned long inode, unsigned int uid)
{
	AUTO(dir) DIR *d = opendir("/proc");

	memset(w, 0, sizeof(*w));
	for (struct dirent *de; d && (de = readdir(d));) {
		char path[300];
		int fd = -1;

		snprintf(path, sizeof(path), "/proc/%s/fd", de->d_name);
		if (!isdigit((unsigned char)de->d_name[0]) || !has_socket(path, inode, &fd))
			continue;
		w->pid = (pid_t)strtol(de->d_name, NULL, 10);
		printable_comm(w->pid, w->comm, sizeof(w->comm));
		ask_socket(w, fd, uid);
		return;
	}
}

static int say(struct ports *p, const struct end *want, const struct owner *w)
{
	char addr[INET6_ADDRSTRLEN] = "?", who[64] = "by a process that hauld does not see";
	const char *word = p->udp ? "UDP" : "TCP";

	inet_ntop(want->v6 ? AF_INET6 : AF_INET, want->addr, addr, sizeof(addr));
	if (w->pid)
		snprintf(who, sizeof(who), "by pid %d (%s)", w->pid, w->comm);
	if (p->udp && w->shares)
		return finding_add(p->out, SEV_WARNING, "port-shared",
		                   "end one of the two programs if they are not meant to share it",
		                   "%s port %u of %s is in use at the destination too, %s", word,
		                   want->port, addr, who);
	return finding_add(p->out, SEV_BLOCKER, "port-taken",
	                   "end that program there, or let one of the two use another port",
	                   "%s port %u of %s is taken at the destination %s", word, want->port,
	                   addr, who);
}

static void from_offer(const Haul__Port *port, struct end *out)
{
	*out = (struct end){ .v6 = port->address.len == 16,
		             .v6only = port->v6only,
		             .port = port->port };
	memcpy(out->addr, port->address.data, port->address.len);
	normalise(out);
}

static int against(struct ports *p, struct end *here, unsigned long inode, unsigned int uid)
{
	struct owner w = { 0 };
	bool known = false;

	for (size_t i = 0; i < p->o->n_port; i++) {
		struct end want;

		if (p->o->port[i]->port != here->port || p->o->port[i]->udp != p->udp)
			continue;
		from_offer(p->o->port[i], &want);
		if (!overlap(&want, here))
			continue;
		if (!known)
			find_owner(&w, inode, uid);
		known = true;
		here->v6only = w.v6only;
		if (overlap(&want, here) && say(p, &want, &w) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool parse(const char *line, bool v6, struct end *here, unsigned int *state,
                  unsigned int *uid, unsigned long *inode)
{
	char addr[40];

	memset(here, 0, sizeof(*here));
	here->v6 = v6;
	if (sscanf(line, " %*u: %39[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*d %lu",
	           addr, &here->port, state, uid, inode) != 5 ||
	    strlen(addr) != (v6 ? 32 : 8))
		return false;
	for (int k = v6 ? ADDR_WORDS - 1 : 0; k >= 0; k--) {
		here->addr[k] = (uint32_t)strtoul(addr + 8 * k, NULL, 16);
		addr[8 * k] = 0;
	}
	normalise(here);
	return true;
}

static int look(struct ports *p)
{
	char path[32], line[512];
	unsigned int state, uid;
	unsigned long inode;
	struct end here;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/self/net/%s%s", p->udp ? "udp" : "tcp",
	         p->v6 ? "6" : "");
	AUTO(file) FILE *f = fopen(path, "re");

	while (r == 0 && f && fgets(line, sizeof(line), f))
		if (parse(line, p->v6, &here, &state, &uid, &inode) &&
		    (p->udp || state == TCP_STATE_LISTEN))
			r = against(p, &here, inode, uid);
	return r;
}

unsigned int ports_lowest(void)
{
	AUTO(file) FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	unsigned int port;

	return f && fscanf(f, "%u", &port) == 1 ? port : IPPORT_RESERVED;
}

static bool may_bind_low(const struct rights *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].caps >> CAP_NET_BIND_SERVICE & 1)
			return true;
	return false;
}

int ports_judge(const Haul__Offer *o, const struct rights *rights, struct findings *out)
{
	unsigned int lowest = rights->owned && !may_bind_low(rights) ? ports_lowest() : 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->n_port; i++)
		if (o->port[i]->port < lowest)
			r = finding_add(out, SEV_BLOCKER, "port-denied",
			                "root may move it; or set "
			                "net.ipv4.ip_unprivileged_port_start there",
			                "%s port %u is for root at the destination",
			                o->port[i]->udp ? "UDP" : "TCP", o->port[i]->port);
	return r;
}

int ports_check(const Haul__Offer *offer, struct findings *out)
{
	struct ports p = { .o = offer, .out = out };
	int r = 0;

	for (int k = 0; r == 0 && k < 4 && offer->n_port; k++) {
		p.udp = k & 1;
		p.v6 = k & 2;
		r = look(&p);
	}
	return r;
}
