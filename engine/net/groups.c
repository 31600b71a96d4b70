// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * groups.c - multicast groups of a socket. No file lists them by socket, but a socket can be asked about one
 * group: so it is asked about each that an interface of the host is in.
 */
#include "engine/net/groups.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/auto.h"
#include "common/log.h"

#define LINE_BYTES 256

static socklen_t fill_addr(struct sockaddr_storage *out, const uint8_t *addr, size_t bytes)
{
	memset(out, 0, sizeof(*out));
	if (bytes == 4) {
		struct sockaddr_in *four = (void *)out;

		four->sin_family = AF_INET;
		memcpy(&four->sin_addr, addr, 4);
		return sizeof(*four);
	}
	struct sockaddr_in6 *six = (void *)out;

	six->sin6_family = AF_INET6;
	memcpy(&six->sin6_addr, addr, 16);
	return sizeof(*six);
}

static const uint8_t *addr_of(const struct sockaddr_storage *s)
{
	return s->ss_family == AF_INET6
	               ? (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)s)->sin6_addr
	               : (const uint8_t *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
}

static int level(size_t bytes)
{
	return bytes == 4 ? IPPROTO_IP : IPPROTO_IPV6;
}

/* Is the socket in this group? Then note it. */
static void ask(int fd, struct sockopts *o, const char *iface, const uint8_t *addr, size_t bytes)
{
	union {
		struct group_filter f;
		char room[GROUP_FILTER_SIZE(SOCKOPTS_SOURCES)];
	} u = { 0 };
	socklen_t n = sizeof(u);

	u.f.gf_interface = if_nametoindex(iface);
	u.f.gf_numsrc = SOCKOPTS_SOURCES;
	fill_addr(&u.f.gf_group, addr, bytes);
	if (o->n_group == SOCKOPTS_GROUPS || !u.f.gf_interface ||
	    getsockopt(fd, level(bytes), MCAST_MSFILTER, &u, &n) < 0)
		return;
	struct sockopts_group *g = &o->group[o->n_group++];

	memset(g, 0, sizeof(*g));
	snprintf(g->iface, sizeof(g->iface), "%s", iface);
	g->bytes = (uint8_t)bytes;
	memcpy(g->addr, addr, bytes);
	g->exclude = u.f.gf_fmode == MCAST_EXCLUDE;
	g->n_source = u.f.gf_numsrc < SOCKOPTS_SOURCES ? u.f.gf_numsrc : SOCKOPTS_SOURCES;
	for (size_t k = 0; k < g->n_source; k++)
		memcpy(g->source[k], addr_of(&u.f.gf_slist[k]), bytes);
}

/* "1 lo : 1 V3" and then, indented, a group of it: 010000E0, an address as the CPU has it. */
static void ask_four(int fd, struct sockopts *o)
{
	AUTO(file) FILE *f = fopen("/proc/net/igmp", "re");
	char line[LINE_BYTES], iface[IF_NAMESIZE] = "";

	while (f && fgets(line, sizeof(line), f)) {
		unsigned int group;

		if (line[0] != '\t') {
			if (sscanf(line, "%*u %15[^ :\t]", iface) != 1)
				iface[0] = 0;
		} else if (iface[0] && sscanf(line, " %8x", &group) == 1) {
			ask(fd, o, iface, (const uint8_t *)&group, 4);
		}
	}
}

static void ask_six(int fd, struct sockopts *o)
{
	AUTO(file) FILE *f = fopen("/proc/net/igmp6", "re");
	char line[LINE_BYTES];

	while (f && fgets(line, sizeof(line), f)) {
		char iface[IF_NAMESIZE], hex[33];
		uint8_t addr[16];

		if (sscanf(line, "%*u %15s %32s", iface, hex) != 2 || strlen(hex) != 32)
			continue;
		for (size_t i = 0; i < sizeof(addr); i++) {
			unsigned int b = 0;

			sscanf(hex + 2 * i, "%2x", &b);
			addr[i] = (uint8_t)b;
		}
		ask(fd, o, iface, addr, sizeof(addr));
	}
}

/* The interface that has the address. */
static void name_of(struct in_addr a, char out[IF_NAMESIZE])
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
		    ((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr ==
		            a.s_addr)
			snprintf(out, IF_NAMESIZE, "%.15s", i->ifa_name);
	freeifaddrs(list);
}

void groups_read(int fd, struct sockopts *o)
{
	struct in_addr four = { 0 };
	int six = 0;
	socklen_t n = sizeof(four), n6 = sizeof(six);

	ask_four(fd, o);
	if (o->domain == AF_INET6) {
		ask_six(fd, o);
		if (getsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &six, &n6) == 0 && six > 0)
			if_indextoname((unsigned int)six, o->iface);
	} else if (getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &four, &n) == 0 && four.s_addr) {
		name_of(four, o->iface);
		memcpy(o->from, &four, sizeof(o->from));
	}
}

/*
 * The address by which the interface is known to the program: what it had, if that is here, too. The kernel
 * does not tell an interface that was chosen by its number alone, so it always gets an address.
 */
static struct in_addr address_of(const struct sockopts *o)
{
	struct in_addr a, first = { 0 };
	struct ifaddrs *list = NULL;

	memcpy(&a, o->from, sizeof(a));
	if (getifaddrs(&list) < 0)
		return first;
	bool here = false;

	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
			continue;
		struct in_addr one =
		        ((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;

		here |= one.s_addr == a.s_addr;
		if (!first.s_addr && !strcmp(i->ifa_name, o->iface))
			first = one;
	}
	freeifaddrs(list);
	return here ? a : first;
}

static int join(int fd, const struct sockopts_group *g)
{
	struct group_req all = { .gr_interface = if_nametoindex(g->iface) };
	struct group_source_req one = { .gsr_interface = all.gr_interface };

	if (!all.gr_interface)
		return -ENODEV;
	fill_addr(&all.gr_group, g->addr, g->bytes);
	fill_addr(&one.gsr_group, g->addr, g->bytes);
	if (g->exclude && setsockopt(fd, level(g->bytes), MCAST_JOIN_GROUP, &all, sizeof(all)) < 0)
		return -errno;
	for (size_t k = 0; k < g->n_source; k++) {
		fill_addr(&one.gsr_source, g->source[k], g->bytes);
		if (setsockopt(fd, level(g->bytes),
		               g->exclude ? MCAST_BLOCK_SOURCE : MCAST_JOIN_SOURCE_GROUP, &one,
		               sizeof(one)) < 0)
			return -errno;
	}
	return 0;
}

void groups_write(int fd, const struct sockopts *o, const char *who)
{
	char text[INET6_ADDRSTRLEN];
	struct ip_mreqn four = { .imr_ifindex = o->iface[0] ? (int)if_nametoindex(o->iface) : 0 };

	if (four.imr_ifindex && o->domain == AF_INET)
		four.imr_address = address_of(o);
	int r = 0;

	for (size_t k = 0; k < o->n_group; k++) {
		const struct sockopts_group *g = &o->group[k];

		r = join(fd, g);
		if (r < 0 && r != -EADDRINUSE)
			log_warn("%s: multicast group %s on %s is lost: %s", who,
			         inet_ntop(g->bytes == 4 ? AF_INET : AF_INET6, g->addr, text,
			                   sizeof(text)),
			         g->iface, strerror(-r));
	}
	if (!o->iface[0])
		return;
	r = !four.imr_ifindex ? -ENODEV
	    : o->domain == AF_INET6
	            ? setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &four.imr_ifindex,
	                         sizeof(int))
	            : setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &four, sizeof(four));
	if (r < 0)
		log_warn("%s: multicasts will not be sent by %s: %s", who, o->iface,
		         strerror(r == -ENODEV ? ENODEV : errno));
}
