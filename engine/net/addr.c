// SPDX-License-Identifier: GPL-2.0-or-later
/* addr.c - addresses that move: find, remove and add by rtnetlink. */
#include "engine/net/net.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/net/netlink.h"

static size_t addr_bytes(const struct net_addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}

int net_move_parse(const char *text, struct net_move *out, struct err *e)
{
	char word[NET_ADDR_TEXT + 8 + IF_NAMESIZE];

	memset(out, 0, sizeof(*out));
	if (strlen(text) >= sizeof(word))
		return err_set(e, ERR_USER, EINVAL, "\"%s\" is not an address", text);
	strcpy(word, text);
	char *at = strchr(word, '@'), *end;

	if (at) {
		*at++ = 0;
		if (!*at || strlen(at) >= sizeof(out->iface))
			return err_set(e, ERR_USER, EINVAL, "\"%s\": no interface has such a name",
			               text);
		strcpy(out->iface, at);
	}
	char *slash = strchr(word, '/');

	if (slash)
		*slash++ = 0;
	out->addr.family = strchr(word, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(out->addr.family, word, out->addr.b) != 1)
		return err_set(e, ERR_USER, EINVAL, "\"%s\" is not an address", text);
	unsigned long len = slash ? strtoul(slash, &end, 10) : 0;

	if (slash && (!*slash || *end || len == 0 || len > addr_bytes(&out->addr) * 8))
		return err_set(e, ERR_USER, EINVAL, "\"%s\": not a valid prefix length", text);
	if (net_addr_any(&out->addr) || net_addr_loopback(&out->addr))
		return err_set(e, ERR_USER, EINVAL, "\"%s\" is not an address that could move",
		               text);
	out->prefix = (uint8_t)len;
	return 0;
}

/* ---- addresses of this host ---- */

typedef int (*addr_fn)(void *arg, const struct ifaddrmsg *a, const void *attrs, size_t bytes);

struct each_addr {
	addr_fn fn;
	void *arg;
};

static int on_addr(void *arg, const struct nlmsghdr *h)
{
	const struct each_addr *each = arg;
	const struct ifaddrmsg *a = NLMSG_DATA(h);

	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*a)))
		return 0;
	return each->fn(each->arg, a, (const uint8_t *)a + NLMSG_ALIGN(sizeof(*a)),
	                h->nlmsg_len - NLMSG_SPACE(sizeof(*a)));
}

static int each_addr(uint8_t family, addr_fn fn, void *arg, struct err *e)
{
	AUTO(fd) int nl = netlink_open(NETLINK_ROUTE, e);
	AUTO(nl) struct nl_buf b = { 0 };
	struct ifaddrmsg all = { .ifa_family = family };
	struct each_addr each = { fn, arg };

	if (nl < 0)
		return nl;
	netlink_begin(&b, RTM_GETADDR, NLM_F_DUMP, &all, sizeof(all));
	return netlink_talk(nl, &b, on_addr, &each, "list addresses", e);
}

static bool is_addr(const struct net_addr *want, const struct ifaddrmsg *a, const void *attrs,
                    size_t bytes)
{
	size_t n = 0;
	const void *p = netlink_attr(attrs, bytes, IFA_LOCAL, &n);

	if (!p)
		p = netlink_attr(attrs, bytes, IFA_ADDRESS, &n);
	return a->ifa_family == want->family && p && n == addr_bytes(want) &&
	       !memcmp(p, want->b, n);
}

static int find_one(void *arg, const struct ifaddrmsg *a, const void *attrs, size_t bytes)
{
	struct net_move *m = arg;
	size_t n = 0;

	if (m->index || !is_addr(&m->addr, a, attrs, bytes))
		return 0;
	const void *p = netlink_attr(attrs, bytes, IFA_FLAGS, &n);

	m->index = a->ifa_index;
	m->flags = a->ifa_flags;
	if (p && n == sizeof(m->flags))
		memcpy(&m->flags, p, n);
	m->scope = a->ifa_scope;
	if (!m->prefix)
		m->prefix = a->ifa_prefixlen;
	p = netlink_attr(attrs, bytes, IFA_BROADCAST, &n);
	m->has_broadcast = p && n == sizeof(m->broadcast);
	if (m->has_broadcast)
		memcpy(m->broadcast, p, n);
	return 0;
}

int net_move_find(struct net_move *m, struct err *e)
{
	char text[NET_ADDR_TEXT], name[IF_NAMESIZE] = "";

	m->index = 0;
	int r = each_addr(m->addr.family, find_one, m, e);

	if (r < 0)
		return r;
	if (!m->index || !if_indextoname(m->index, name)) {
		err_set(e, ERR_USER, ENOENT, "address %s is not one of this host",
		        net_addr_text(&m->addr, text));
		return err_fix(e, "ip address shows those that could move");
	}
	if (!m->iface[0])
		strcpy(m->iface, name);
	return 0;
}

struct here {
	const struct net_addr *want;
	bool found;
};

static int here_one(void *arg, const struct ifaddrmsg *a, const void *attrs, size_t bytes)
{
	struct here *h = arg;

	h->found |= is_addr(h->want, a, attrs, bytes);
	return 0;
}

int net_addr_here(const struct net_addr *a, struct err *e)
{
	struct here h = { .want = a };
	int r = each_addr(a->family, here_one, &h, e);

	return r < 0 ? r : h.found;
}

/* ---- what else a removal of the address would take away ---- */

struct harm {
	const struct net_move *m;
	bool primary, others, route;
};

static bool same_net(const struct net_move *m, const void *addr, unsigned int prefix)
{
	uint32_t a, b, mask = prefix ? htonl(~0U << (32 - prefix)) : 0;

	memcpy(&a, addr, sizeof(a));
	memcpy(&b, m->addr.b, sizeof(b));
	return ((a ^ b) & mask) == 0;
}

/*
 * The kernel removes the secondary addresses of an IPv4 network with the first one, unless they are
 * promoted.
 */
static int harm_addr(void *arg, const struct ifaddrmsg *a, const void *attrs, size_t bytes)
{
	struct harm *h = arg;
	size_t n = 0;
	const void *p = netlink_attr(attrs, bytes, IFA_LOCAL, &n);

	if (a->ifa_index != h->m->index || !p || n != 4)
		return 0;
	if (is_addr(&h->m->addr, a, attrs, bytes))
		h->primary = !(a->ifa_flags & IFA_F_SECONDARY);
	else
		h->others |= (a->ifa_flags & IFA_F_SECONDARY) &&
		             same_net(h->m, p, a->ifa_prefixlen);
	return 0;
}

static int harm_route(void *arg, const struct nlmsghdr *h)
{
	struct harm *harm = arg;
	const struct rtmsg *r = NLMSG_DATA(h);
	size_t n = 0;

	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*r)) ||
	    r->rtm_protocol == RTPROT_KERNEL)
		return 0;
	const void *p = netlink_attr((const uint8_t *)r + NLMSG_ALIGN(sizeof(*r)),
	                             h->nlmsg_len - NLMSG_SPACE(sizeof(*r)), RTA_PREFSRC, &n);

	harm->route |= p && n == addr_bytes(&harm->m->addr) && !memcmp(p, harm->m->addr.b, n);
	return 0;
}

static bool promotes(const char *iface)
{
	const char *const names[] = { "all", iface };
	char path[96];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/promote_secondaries",
		         names[i]);
		AUTO(file) FILE *f = fopen(path, "re");

		if (f && fgetc(f) == '1')
			return true;
	}
	return false;
}

int net_move_harm(const struct net_move *m, char *why, size_t bytes, struct err *e)
{
	AUTO(fd) int nl = netlink_open(NETLINK_ROUTE, e);
	AUTO(nl) struct nl_buf b = { 0 };
	struct rtmsg all = { .rtm_family = m->addr.family };
	struct harm h = { .m = m };
	char name[IF_NAMESIZE] = "";

	if (nl < 0)
		return nl;
	if_indextoname(m->index, name);
	int r = m->addr.family == AF_INET ? each_addr(AF_INET, harm_addr, &h, e) : 0;

	if (r < 0)
		return r;
	netlink_begin(&b, RTM_GETROUTE, NLM_F_DUMP, &all, sizeof(all));
	r = netlink_talk(nl, &b, harm_route, &h, "list routes", e);
	if (r < 0)
		return r;
	if (h.route)
		snprintf(why, bytes, "it is the preferred source of a route of this host");
	else if (h.primary && h.others && !promotes(name))
		snprintf(why, bytes,
		         "it is the first address of its network on %s: the others would be "
		         "removed with it (net.ipv4.conf.%s.promote_secondaries=1 keeps them)",
		         name, name);
	else
		return 0;
	return 1;
}

/* ---- remove and add ---- */

static int change(const struct net_move *m, uint16_t type, uint16_t flags, const char *what,
                  struct err *e)
{
	AUTO(fd) int nl = netlink_open(NETLINK_ROUTE, e);
	AUTO(nl) struct nl_buf b = { 0 };
	struct ifaddrmsg a = { .ifa_family = m->addr.family,
		               .ifa_prefixlen = m->prefix,
		               .ifa_scope = m->scope,
		               .ifa_index = m->index };
	uint32_t keep = m->flags & IFA_F_NOPREFIXROUTE;
	char text[NET_ADDR_TEXT], words[128];

	if (nl < 0)
		return nl;
	/* its last owner has given it up: do not wait a second for another host to object */
	if (m->addr.family == AF_INET6)
		keep |= IFA_F_NODAD;
	netlink_begin(&b, type, NLM_F_ACK | flags, &a, sizeof(a));
	netlink_put(&b, IFA_LOCAL, m->addr.b, addr_bytes(&m->addr));
	netlink_put(&b, IFA_ADDRESS, m->addr.b, addr_bytes(&m->addr));
	if (type == RTM_NEWADDR)
		netlink_put(&b, IFA_FLAGS, &keep, sizeof(keep));
	if (type == RTM_NEWADDR && m->has_broadcast)
		netlink_put(&b, IFA_BROADCAST, m->broadcast, sizeof(m->broadcast));
	snprintf(words, sizeof(words), "%s address %s", what, net_addr_text(&m->addr, text));
	return netlink_talk(nl, &b, NULL, NULL, words, e);
}

int net_move_del(struct net_move *m, struct err *e)
{
	struct err late = ERR_INIT;
	int r = change(m, RTM_DELADDR, 0, "remove", e);

	if (r < 0)
		return r;
	m->gone = true;
	if (net_addr_here(&m->addr, &late) == 1)
		return err_set(e, ERR_SYS, EBUSY, "an address is on two interfaces of this host");
	return 0;
}

int net_move_add(struct net_move *m, struct err *e)
{
	struct net_move here = *m;

	here.index = if_nametoindex(m->iface);
	if (!here.index) {
		err_set(e, ERR_USER, ENODEV, "there is no interface %s", m->iface);
		return err_fix(e, "--move-address=ADDR@INTERFACE names the one at the destination");
	}
	int r = change(&here, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add", e);

	if (r)
		return r;
	m->gone = false;
	return 0;
}
