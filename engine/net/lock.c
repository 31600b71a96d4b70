// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lock.c - drop the packets of given flows: one nf_tables table, written by netlink in one
 * transaction each time. `nft list table inet haul_...` shows it.
 *
 * Incoming packets are dropped before routing, even when their address is no longer one of this
 * host; outgoing packets where they are made.
 */
#include "engine/net/net.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "engine/net/netlink.h"

#define PRIORITY_RAW  (-300)
#define ELEMS_PER_MSG 500
#define KEY_BYTES_MAX 40
#define TCP_FLAGS_AT  13
#define TCP_SYN_ACK   0x12
#define TCP_SYN       0x02
#define NFPROTO_ANY   0
#define TRANSPORT_TCP 6
#define TRANSPORT_UDP 17
/* names that nft(8) uses for the parts of a key */
#define TYPE_IP4    7u
#define TYPE_IP6    8u
#define TYPE_PORT   13u
#define TYPE2(a, b) ((a) << 6 | (b))
#define TYPE4(a, b) (TYPE2(a, b) << 12 | TYPE2(a, b))

struct net_lock {
	int nl;
	bool is_open;
	char name[32];
};

enum set_kind {
	SET_CONN4,
	SET_CONN6,
	SET_LISTEN4,
	SET_LISTEN6,
	SET_PORT,
	SET_UDP4,
	SET_UDP6,
	SET_UDP_PORT,
	SET_ADDR4,
	SET_ADDR6,
	SET_N
};

static const struct {
	const char *name;
	uint32_t type, key_bytes;
} sets[SET_N] = {
	[SET_CONN4] = { "conn4", TYPE4(TYPE_IP4, TYPE_PORT), 16 },
	[SET_CONN6] = { "conn6", TYPE4(TYPE_IP6, TYPE_PORT), 40 },
	[SET_LISTEN4] = { "listen4", TYPE2(TYPE_IP4, TYPE_PORT), 8 },
	[SET_LISTEN6] = { "listen6", TYPE2(TYPE_IP6, TYPE_PORT), 20 },
	[SET_PORT] = { "port", TYPE_PORT, 2 },
	[SET_UDP4] = { "udp4", TYPE2(TYPE_IP4, TYPE_PORT), 8 },
	[SET_UDP6] = { "udp6", TYPE2(TYPE_IP6, TYPE_PORT), 20 },
	[SET_UDP_PORT] = { "udpport", TYPE_PORT, 2 },
	[SET_ADDR4] = { "addr4", TYPE_IP4, 4 },
	[SET_ADDR6] = { "addr6", TYPE_IP6, 16 },
};

/* One part of a lookup key, in the byte order of the packet. */
struct part {
	uint32_t base, offset, bytes;
};

#define IP4_SRC                                                                                    \
	{                                                                                          \
		NFT_PAYLOAD_NETWORK_HEADER, 12, 4                                                  \
	}
#define IP4_DST                                                                                    \
	{                                                                                          \
		NFT_PAYLOAD_NETWORK_HEADER, 16, 4                                                  \
	}
#define IP6_SRC                                                                                    \
	{                                                                                          \
		NFT_PAYLOAD_NETWORK_HEADER, 8, 16                                                  \
	}
#define IP6_DST                                                                                    \
	{                                                                                          \
		NFT_PAYLOAD_NETWORK_HEADER, 24, 16                                                 \
	}
#define PORT_SRC                                                                                   \
	{                                                                                          \
		NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2                                                 \
	}
#define PORT_DST                                                                                   \
	{                                                                                          \
		NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2                                                 \
	}

static const struct {
	const char *chain;
	enum set_kind set;
	uint8_t family, transport;
	bool syn_only;
	struct part part[4];
} rules[] = {
	{ "in",
	  SET_CONN4,
	  NFPROTO_IPV4,
	  TRANSPORT_TCP,
	  false,
	  { IP4_DST, PORT_DST, IP4_SRC, PORT_SRC } },
	{ "in",
	  SET_CONN6,
	  NFPROTO_IPV6,
	  TRANSPORT_TCP,
	  false,
	  { IP6_DST, PORT_DST, IP6_SRC, PORT_SRC } },
	{ "in", SET_LISTEN4, NFPROTO_IPV4, TRANSPORT_TCP, true, { IP4_DST, PORT_DST } },
	{ "in", SET_LISTEN6, NFPROTO_IPV6, TRANSPORT_TCP, true, { IP6_DST, PORT_DST } },
	{ "in", SET_PORT, NFPROTO_ANY, TRANSPORT_TCP, true, { PORT_DST } },
	{ "in", SET_ADDR4, NFPROTO_IPV4, TRANSPORT_TCP, false, { IP4_DST } },
	{ "in", SET_ADDR6, NFPROTO_IPV6, TRANSPORT_TCP, false, { IP6_DST } },
	{ "in", SET_ADDR4, NFPROTO_IPV4, TRANSPORT_UDP, false, { IP4_DST } },
	{ "in", SET_ADDR6, NFPROTO_IPV6, TRANSPORT_UDP, false, { IP6_DST } },
	{ "in", SET_UDP4, NFPROTO_IPV4, TRANSPORT_UDP, false, { IP4_DST, PORT_DST } },
	{ "in", SET_UDP6, NFPROTO_IPV6, TRANSPORT_UDP, false, { IP6_DST, PORT_DST } },
	{ "in", SET_UDP_PORT, NFPROTO_ANY, TRANSPORT_UDP, false, { PORT_DST } },
	{ "out",
	  SET_CONN4,
	  NFPROTO_IPV4,
	  TRANSPORT_TCP,
	  false,
	  { IP4_SRC, PORT_SRC, IP4_DST, PORT_DST } },
	{ "out",
	  SET_CONN6,
	  NFPROTO_IPV6,
	  TRANSPORT_TCP,
	  false,
	  { IP6_SRC, PORT_SRC, IP6_DST, PORT_DST } },
};

/* ---- messages ---- */

static void nf_msg(struct nl_buf *b, int type, uint16_t flags, uint8_t family)
{
	struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };

	netlink_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &g, sizeof(g));
}

static void batch(struct nl_buf *b, uint16_t type)
{
	struct nfgenmsg g = { .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	netlink_begin(b, type, 0, &g, sizeof(g));
}

static void put_value(struct nl_buf *b, uint16_t type, const void *data, size_t bytes)
{
	size_t n = netlink_nest(b, type);

	netlink_put(b, NFTA_DATA_VALUE, data, bytes);
	netlink_end(b, n);
}

struct expr {
	size_t elem, data;
};

static struct expr expr_begin(struct nl_buf *b, const char *name)
{
	struct expr x = { .elem = netlink_nest(b, NFTA_LIST_ELEM) };

	netlink_put_str(b, NFTA_EXPR_NAME, name);
	x.data = netlink_nest(b, NFTA_EXPR_DATA);
	return x;
}

static void expr_end(struct nl_buf *b, struct expr x)
{
	netlink_end(b, x.data);
	netlink_end(b, x.elem);
}

static void load(struct nl_buf *b, uint32_t reg, const struct part *p)
{
	struct expr x = expr_begin(b, "payload");

	netlink_put_u32(b, NFTA_PAYLOAD_DREG, reg);
	netlink_put_u32(b, NFTA_PAYLOAD_BASE, p->base);
	netlink_put_u32(b, NFTA_PAYLOAD_OFFSET, p->offset);
	netlink_put_u32(b, NFTA_PAYLOAD_LEN, p->bytes);
	expr_end(b, x);
}

static void must_equal(struct nl_buf *b, uint8_t value)
{
	struct expr x = expr_begin(b, "cmp");

	netlink_put_u32(b, NFTA_CMP_SREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(b, NFTA_CMP_DATA, &value, 1);
	expr_end(b, x);
}

static void meta_must_equal(struct nl_buf *b, uint32_t key, uint8_t value)
{
	struct expr x = expr_begin(b, "meta");

	netlink_put_u32(b, NFTA_META_DREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_META_KEY, key);
	expr_end(b, x);
	must_equal(b, value);
}

static void verdict(struct nl_buf *b, uint32_t code)
{
	struct expr x = expr_begin(b, "immediate");

	netlink_put_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	size_t data = netlink_nest(b, NFTA_IMMEDIATE_DATA),
	       nest = netlink_nest(b, NFTA_DATA_VERDICT);

	netlink_put_u32(b, NFTA_VERDICT_CODE, code);
	netlink_end(b, nest);
	netlink_end(b, data);
	expr_end(b, x);
}

/* Packets that CRIU itself sends to its sockets are let through. */
static void put_exception(struct nl_buf *b, const char *table, const char *chain)
{
	uint32_t mark = NET_CRIU_MARK;

	nf_msg(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_INET);
	netlink_put_str(b, NFTA_RULE_TABLE, table);
	netlink_put_str(b, NFTA_RULE_CHAIN, chain);
	size_t list = netlink_nest(b, NFTA_RULE_EXPRESSIONS);
	struct expr x = expr_begin(b, "meta");

	netlink_put_u32(b, NFTA_META_DREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_META_KEY, NFT_META_MARK);
	expr_end(b, x);
	x = expr_begin(b, "cmp");
	netlink_put_u32(b, NFTA_CMP_SREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(b, NFTA_CMP_DATA, &mark, sizeof(mark));
	expr_end(b, x);
	verdict(b, NF_ACCEPT);
	netlink_end(b, list);
}

static void must_be_syn(struct nl_buf *b)
{
	static const struct part flags = { NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS_AT, 1 };
	uint8_t mask = TCP_SYN_ACK, zero = 0;

	load(b, NFT_REG32_00, &flags);
	struct expr x = expr_begin(b, "bitwise");

	netlink_put_u32(b, NFTA_BITWISE_SREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_BITWISE_DREG, NFT_REG32_00);
	netlink_put_u32(b, NFTA_BITWISE_LEN, 1);
	put_value(b, NFTA_BITWISE_MASK, &mask, 1);
	put_value(b, NFTA_BITWISE_XOR, &zero, 1);
	expr_end(b, x);
	must_equal(b, TCP_SYN);
}

static void must_be_in(struct nl_buf *b, const char *set)
{
	struct expr x = expr_begin(b, "lookup");

	netlink_put_str(b, NFTA_LOOKUP_SET, set);
	netlink_put_u32(b, NFTA_LOOKUP_SREG, NFT_REG32_00);
	expr_end(b, x);
}

static void put_rule(struct nl_buf *b, const char *table, size_t k, uint16_t flags)
{
	uint32_t reg = NFT_REG32_00;

	nf_msg(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags, NFPROTO_INET);
	netlink_put_str(b, NFTA_RULE_TABLE, table);
	netlink_put_str(b, NFTA_RULE_CHAIN, rules[k].chain);
	size_t list = netlink_nest(b, NFTA_RULE_EXPRESSIONS);

	if (rules[k].family != NFPROTO_ANY)
		meta_must_equal(b, NFT_META_NFPROTO, rules[k].family);
	meta_must_equal(b, NFT_META_L4PROTO, rules[k].transport);
	if (rules[k].syn_only)
		must_be_syn(b);
	for (size_t i = 0; i < 4 && rules[k].part[i].bytes; i++) {
		load(b, reg, &rules[k].part[i]);
		reg += (rules[k].part[i].bytes + 3) / 4;
	}
	must_be_in(b, sets[rules[k].set].name);
	verdict(b, NF_DROP);
	netlink_end(b, list);
}

static void put_chain(struct nl_buf *b, const char *table, const char *name, uint32_t hook)
{
	nf_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
	netlink_put_str(b, NFTA_CHAIN_TABLE, table);
	netlink_put_str(b, NFTA_CHAIN_NAME, name);
	netlink_put_str(b, NFTA_CHAIN_TYPE, "filter");
	size_t n = netlink_nest(b, NFTA_CHAIN_HOOK);

	netlink_put_u32(b, NFTA_HOOK_HOOKNUM, hook);
	netlink_put_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY_RAW);
	netlink_end(b, n);
}

static void put_set(struct nl_buf *b, const char *table, size_t k)
{
	nf_msg(b, NFT_MSG_NEWSET, NLM_F_CREATE, NFPROTO_INET);
	netlink_put_str(b, NFTA_SET_TABLE, table);
	netlink_put_str(b, NFTA_SET_NAME, sets[k].name);
	netlink_put_u32(b, NFTA_SET_ID, (uint32_t)k + 1);
	netlink_put_u32(b, NFTA_SET_KEY_TYPE, sets[k].type);
	netlink_put_u32(b, NFTA_SET_KEY_LEN, sets[k].key_bytes);
}

static int talk(struct net_lock *l, struct nl_buf *b, const char *what, struct err *e)
{
	int r = netlink_talk(l->nl, b, NULL, NULL, what, e);

	if (r == -EPROTONOSUPPORT || r == -EOPNOTSUPP)
		err_fix(e, "moving connections needs nf_tables: modprobe nf_tables");
	return r;
}

/* ---- public functions ---- */

int net_lock_adopt(struct net_lock **out, uint64_t id, struct err *e)
{
	AUTO(net_lock) struct net_lock *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the network lock");
	snprintf(l->name, sizeof(l->name), "haul_%016llx", (unsigned long long)id);
	l->nl = netlink_open(NETLINK_NETFILTER, e);
	if (l->nl < 0)
		return l->nl;
	*out = steal(l);
	return 0;
}

int net_lock_new(struct net_lock **out, uint64_t id, struct err *e)
{
	AUTO(net_lock) struct net_lock *l = NULL;
	AUTO(nl) struct nl_buf b = { 0 };

	if (net_lock_adopt(&l, id, e) < 0)
		return -e->code;
	l->is_open = true;
	batch(&b, NFNL_MSG_BATCH_BEGIN);
	nf_msg(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, NFPROTO_INET);
	netlink_put_str(&b, NFTA_TABLE_NAME, l->name);
	for (size_t k = 0; k < SET_N; k++)
		put_set(&b, l->name, k);
	put_chain(&b, l->name, "in", NF_INET_PRE_ROUTING);
	put_chain(&b, l->name, "out", NF_INET_LOCAL_OUT);
	put_exception(&b, l->name, "in");
	put_exception(&b, l->name, "out");
	for (size_t k = 0; k < ARRAY_SIZE(rules); k++)
		put_rule(&b, l->name, k, k + 1 == ARRAY_SIZE(rules) ? NLM_F_ACK : 0);
	batch(&b, NFNL_MSG_BATCH_END);
	int r = talk(l, &b, "make a table for the network lock", e);

	if (r < 0)
		return r;
	l->is_open = false;
	*out = steal(l);
	return 0;
}

static enum set_kind set_of(const struct net_flow *f)
{
	bool v4 = f->local.family == AF_INET;

	if (!f->listens)
		return v4 ? SET_CONN4 : SET_CONN6;
	if (!f->local_port)
		return v4 ? SET_ADDR4 : SET_ADDR6;
	if (f->udp)
		return net_addr_any(&f->local) ? SET_UDP_PORT : v4 ? SET_UDP4 : SET_UDP6;
	if (net_addr_any(&f->local))
		return SET_PORT;
	return v4 ? SET_LISTEN4 : SET_LISTEN6;
}

static size_t put_end(uint8_t *at, const struct net_addr *a, uint16_t port)
{
	size_t n = a->family == AF_INET ? 4 : 16;
	uint16_t p = htons(port);

	memcpy(at, a->b, n);
	memcpy(at + n, &p, sizeof(p));
	return n + 4;
}

static void put_elem(struct nl_buf *b, const struct net_flow *f)
{
	uint8_t key[KEY_BYTES_MAX] = { 0 };
	enum set_kind k = set_of(f);
	size_t elem = netlink_nest(b, NFTA_LIST_ELEM);

	if (k == SET_PORT || k == SET_UDP_PORT) {
		uint16_t p = htons(f->local_port);

		memcpy(key, &p, sizeof(p));
	} else if (!f->local_port) {
		memcpy(key, f->local.b, sets[k].key_bytes);
	} else {
		size_t n = put_end(key, &f->local, f->local_port);

		if (!f->listens)
			put_end(key + n, &f->remote, f->remote_port);
	}
	put_value(b, NFTA_SET_ELEM_KEY, key, sets[k].key_bytes);
	netlink_end(b, elem);
}

/* Put the flows of one set into as many messages as needed, to be added or removed. Return: number of flows */
static size_t put_elems(struct nl_buf *b, const char *table, enum set_kind k,
                        const struct net_flow *v, size_t n, bool add)
{
	size_t in_msg = 0, all = 0, list = 0;

	for (size_t i = 0; i < n; i++) {
		if (set_of(&v[i]) != k)
			continue;
		if (in_msg == 0) {
			nf_msg(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
			       (add ? NLM_F_CREATE : 0) | NLM_F_ACK, NFPROTO_INET);
			netlink_put_str(b, NFTA_SET_ELEM_LIST_TABLE, table);
			netlink_put_str(b, NFTA_SET_ELEM_LIST_SET, sets[k].name);
			list = netlink_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
		}
		put_elem(b, &v[i]);
		all++;
		in_msg = (in_msg + 1) % ELEMS_PER_MSG;
		if (in_msg == 0)
			netlink_end(b, list);
	}
	if (in_msg)
		netlink_end(b, list);
	return all;
}

static int change(struct net_lock *l, const struct net_flow *v, size_t n, bool add, struct err *e)
{
	AUTO(nl) struct nl_buf b = { 0 };
	size_t all = 0;

	batch(&b, NFNL_MSG_BATCH_BEGIN);
	for (int k = 0; k < SET_N; k++)
		all += put_elems(&b, l->name, (enum set_kind)k, v, n, add);
	batch(&b, NFNL_MSG_BATCH_END);
	return all ? talk(l, &b, add ? "lock connections" : "open connections", e) : 0;
}

int net_lock_add(struct net_lock *l, const struct net_flow *v, size_t n, struct err *e)
{
	return change(l, v, n, true, e);
}

int net_lock_del(struct net_lock *l, const struct net_flow *v, size_t n, struct err *e)
{
	return change(l, v, n, false, e);
}

int net_lock_open(struct net_lock *l, struct err *e)
{
	AUTO(nl) struct nl_buf b = { 0 };

	if (l->is_open)
		return 0;
	batch(&b, NFNL_MSG_BATCH_BEGIN);
	nf_msg(&b, NFT_MSG_DELTABLE, NLM_F_ACK, NFPROTO_INET);
	netlink_put_str(&b, NFTA_TABLE_NAME, l->name);
	batch(&b, NFNL_MSG_BATCH_END);
	int r = talk(l, &b, "open the network lock", e);

	if (r == -ENOENT)
		err_clear(e);
	else if (r < 0)
		return err_fix(e, "nft delete table inet %s", l->name);
	l->is_open = true;
	return 0;
}

void net_lock_free(struct net_lock *l)
{
	if (!l)
		return;
	if (l->nl >= 0)
		close(l->nl);
	free(l);
}
