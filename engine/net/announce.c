// SPDX-License-Identifier: GPL-2.0-or-later
/* announce.c - tell the neighbours which host has an address now: ARP and NDP. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/log.h"
#include "engine/net/net.h"

#define ARP_BYTES 28

static int hardware_address(const char *iface, uint8_t mac[ETH_ALEN])
{
	AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq q = { 0 };

	memcpy(q.ifr_name, iface, sizeof(q.ifr_name));
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &q) < 0)
		return -errno;
	if (q.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return -ENOTSUP; /* there is no neighbour to tell */
	memcpy(mac, q.ifr_hwaddr.sa_data, ETH_ALEN);
	return 0;
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Both kinds: some neighbours accept only requests, some only replies. */
static int announce_arp(const struct net_move *m, const uint8_t mac[ETH_ALEN])
{
	static const int kinds[] = { ARPOP_REQUEST, ARPOP_REPLY };
	AUTO(fd) int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
		                  .sll_protocol = htons(ETH_P_ARP),
		                  .sll_ifindex = (int)if_nametoindex(m->iface),
		                  .sll_halen = ETH_ALEN };
	uint8_t p[ARP_BYTES];

	memset(to.sll_addr, 0xff, ETH_ALEN);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		put16(p, ARPHRD_ETHER);
		put16(p + 2, ETH_P_IP);
		p[4] = ETH_ALEN;
		p[5] = 4;
		put16(p + 6, (unsigned int)kinds[i]);
		memcpy(p + 8, mac, ETH_ALEN);
		memcpy(p + 14, m->addr.b, 4);
		memset(p + 18, kinds[i] == ARPOP_REQUEST ? 0 : 0xff, ETH_ALEN);
		memcpy(p + 24, m->addr.b, 4);
		if (fd < 0 || sendto(fd, p, sizeof(p), 0, (void *)&to, sizeof(to)) < 0)
			return -errno;
	}
	return 0;
}

static int announce_nd(const struct net_move *m, const uint8_t mac[ETH_ALEN])
{
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr opt;
		uint8_t mac[ETH_ALEN];
	} p = { 0 };
	AUTO(fd) int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 }, all = { .sin6_family = AF_INET6 };
	int hops = 255, index = (int)if_nametoindex(m->iface);

	memcpy(&from.sin6_addr, m->addr.b, 16);
	from.sin6_scope_id = all.sin6_scope_id = (uint32_t)index;
	inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
	p.na.nd_na_type = ND_NEIGHBOR_ADVERT;
	p.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	p.na.nd_na_target = from.sin6_addr;
	p.opt.nd_opt_type = ND_OPT_TARGET_LINKADDR;
	p.opt.nd_opt_len = 1;
	memcpy(p.mac, mac, ETH_ALEN);
	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) < 0 ||
	    bind(fd, (void *)&from, sizeof(from)) < 0 ||
	    sendto(fd, &p, sizeof(p), 0, (void *)&all, sizeof(all)) < 0)
		return -errno;
	return 0;
}

void net_move_announce(const struct net_move *m)
{
	uint8_t mac[ETH_ALEN];
	char text[NET_ADDR_TEXT];
	int r = hardware_address(m->iface, mac);

	if (r == 0)
		r = m->addr.family == AF_INET ? announce_arp(m, mac) : announce_nd(m, mac);
	if (r < 0 && r != -ENOTSUP)
		log_warn("cannot tell the neighbours about %s on %s: %s",
		         net_addr_text(&m->addr, text), m->iface, strerror(-r));
}
