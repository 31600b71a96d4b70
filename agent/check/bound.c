// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bound.c - can the sockets of the tree be bound here to what they are bound to: does this host have
 * the addresses, and are the names of UNIX sockets free? Binds nothing, connects to nothing.
 */
#include "agent/check/check.h"
#include "agent/check/files.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "transport/msg/haul.pb-c.h"

#define LINE_BYTES   4096
#define V4_BYTES     4
#define V6_BYTES     16
#define FLAG_LISTENS 0x10000u /* of /proc/net/unix: __SO_ACCEPTCON */

/* ---- addresses ---- */

/* An address that needs no interface: none, the loopback, a group, broadcast. ::ffff:a.b.c.d is a.b.c.d. */
static bool is_everywhere(const uint8_t *a, size_t bytes)
{
	struct in6_addr six;

	if (bytes == V6_BYTES) {
		memcpy(&six, a, sizeof(six));
		if (!IN6_IS_ADDR_V4MAPPED(&six))
			return IN6_IS_ADDR_UNSPECIFIED(&six) || IN6_IS_ADDR_LOOPBACK(&six) ||
			       IN6_IS_ADDR_MULTICAST(&six);
		a += V6_BYTES - V4_BYTES;
	}
	uint32_t four = (uint32_t)a[0] << 24 | (uint32_t)a[1] << 16 | (uint32_t)a[2] << 8 | a[3];

	return four == INADDR_ANY || four >> 24 == IN_LOOPBACKNET || IN_MULTICAST(four) ||
	       four == INADDR_BROADCAST;
}

/* Return: 4 or 16; *at: where the address begins */
static size_t bare(const uint8_t *a, size_t bytes, const uint8_t **at)
{
	struct in6_addr six;

	*at = a;
	if (bytes != V6_BYTES)
		return bytes;
	memcpy(&six, a, sizeof(six));
	if (!IN6_IS_ADDR_V4MAPPED(&six))
		return V6_BYTES;
	*at = a + V6_BYTES - V4_BYTES;
	return V4_BYTES;
}

static bool is_here(const struct ifaddrs *list, const uint8_t *a, size_t bytes)
{
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		const struct sockaddr *s = i->ifa_addr;

		if (s && s->sa_family == AF_INET && bytes == V4_BYTES &&
		    !memcmp(&((const struct sockaddr_in *)(const void *)s)->sin_addr, a, bytes))
			return true;
		if (s && s->sa_family == AF_INET6 && bytes == V6_BYTES &&
		    !memcmp(&((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, a, bytes))
			return true;
		/* a datagram socket may be bound to the broadcast address of an interface */
		s = i->ifa_flags ? i->ifa_broadaddr : NULL;
		if (s && s->sa_family == AF_INET && bytes == V4_BYTES &&
		    !memcmp(&((const struct sockaddr_in *)(const void *)s)->sin_addr, a, bytes))
			return true;
	}
	return false;
}

static bool comes_along(const Haul__Offer *o, const uint8_t *a, size_t bytes)
{
	for (size_t k = 0; o->net && k < o->net->n_move; k++)
		if (o->net->move[k]->addr.len == bytes &&
		    !memcmp(o->net->move[k]->addr.data, a, bytes))
			return true;
	return false;
}

/* May programs here bind to an address that the host does not have? */
static bool binds_anything(size_t bytes)
{
	AUTO(file)
	FILE *f = fopen(bytes == V4_BYTES ? "/proc/sys/net/ipv4/ip_nonlocal_bind"
	                                  : "/proc/sys/net/ipv6/ip_nonlocal_bind",
	                "re");

	return f && fgetc(f) == '1';
}

static int check_addresses(const Haul__Offer *o, struct findings *out)
{
	struct ifaddrs *list = NULL;
	int r = 0;

	if (!o->n_port || getifaddrs(&list) < 0)
		return 0; /* it cannot be told: the restore will */
	for (size_t k = 0; r == 0 && k < o->n_port; k++) {
		const Haul__Port *p = o->port[k];
		char text[INET6_ADDRSTRLEN] = "?";
		const uint8_t *a;
		size_t bytes = bare(p->address.data, p->address.len, &a);

		if (is_everywhere(a, bytes) || comes_along(o, a, bytes) ||
		    is_here(list, a, bytes) || binds_anything(bytes))
			continue;
		inet_ntop(bytes == V4_BYTES ? AF_INET : AF_INET6, a, text, sizeof(text));
		r = finding_add(
		        out, SEV_BLOCKER, "address-missing",
		        "--move-address=ADDR takes it along; or ip addr add it there; or set "
		        "net.ipv4.ip_nonlocal_bind=1 (net.ipv6...) there",
		        "%s port %u is bound to %s, which the destination does not have",
		        p->udp ? "UDP" : "TCP", p->port, text);
	}
	freeifaddrs(list);
	return r;
}

/* ---- names of UNIX sockets ---- */

/* A file that another program has left behind is no obstacle: CRIU removes it. */
static bool is_bound_file(const char *name)
{
	struct stat st;

	return name[0] == '@' || (stat(name, &st) == 0 && S_ISSOCK(st.st_mode));
}

static bool is_wanted(const Haul__Offer *o, const char *name)
{
	for (size_t k = 0; k < o->n_unix_name; k++)
		if (!strcmp(o->unix_name[k], name))
			return true;
	return false;
}

/* Each line of /proc/net/unix: Num RefCount Protocol Flags Type St Inode [Path] */
static int check_names(const Haul__Offer *o, struct findings *out)
{
	AUTO(file)
	FILE *f = o->n_unix_name && !o->into_root[0] ? fopen("/proc/self/net/unix", "re") : NULL;
	char line[LINE_BYTES];
	int r = 0;

	while (r == 0 && f && fgets(line, sizeof(line), f)) {
		unsigned int flags, type;
		int at = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%*x: %*x %*x %x %x %*x %*u %n", &flags, &type, &at) != 2 ||
		    !line[at] || !(flags & FLAG_LISTENS || type == SOCK_DGRAM) ||
		    !is_wanted(o, line + at) || !is_bound_file(line + at))
			continue;
		r = finding_add(
		        out, SEV_BLOCKER, "unix-taken",
		        "end the program that has it there, or let one of the two use another name",
		        "the UNIX socket %s is in use at the destination by a program that lives",
		        line + at);
	}
	return r;
}

/* ---- interfaces with multicast groups ---- */

static int check_ifaces(const Haul__Offer *o, struct findings *out)
{
	char name[IF_NAMESIZE];
	int r = 0;

	for (size_t k = 0; r == 0 && k < o->n_iface; k++) {
		if (if_nametoindex(o->iface[k]))
			continue;
		snprintf(name, sizeof(name), "%s", o->iface[k]);
		r = finding_add(
		        out, SEV_WARNING, "interface-missing",
		        "give an interface that name there (ip link set ... name), or let the "
		        "program join its groups again",
		        "sockets use multicast groups by the interface %s, which the destination "
		        "lacks: they will not be in these groups",
		        files_clean(name, name, sizeof(name)));
	}
	return r;
}

/* CRIU binds such a socket again, and gives up if it cannot. */
static int check_devices(const Haul__Offer *o, struct findings *out)
{
	char name[IF_NAMESIZE];
	int r = 0;

	for (size_t k = 0; r == 0 && k < o->n_device; k++) {
		if (if_nametoindex(o->device[k]))
			continue;
		snprintf(name, sizeof(name), "%s", o->device[k]);
		r = finding_add(
		        out, SEV_BLOCKER, "interface-missing",
		        "give an interface that name there (ip link set ... name), or let the "
		        "program unbind its sockets (SO_BINDTODEVICE)",
		        "sockets are bound to the interface %s, which the destination lacks",
		        files_clean(name, name, sizeof(name)));
	}
	return r;
}

int check_bound(const Haul__Offer *offer, struct findings *out)
{
	int r = check_addresses(offer, out);

	if (r < 0)
		return r;
	r = check_ifaces(offer, out);
	if (r == 0)
		r = check_devices(offer, out);
	return r < 0 ? r : check_names(offer, out);
}
