/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - engine's third part: the network of a tree that moves. Knows nothing of peers. */
#ifndef HAUL_ENGINE_NET_H
#define HAUL_ENGINE_NET_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct net_addr {
	uint8_t family; /* AF_INET or AF_INET6; IPv4 in IPv6 is AF_INET */
	uint8_t b[16];
};

/* "ff02:...%interface" does not come up: link-local names are kept without scope */
#define NET_ADDR_TEXT INET6_ADDRSTRLEN
/** net_addr_text() - for people; returns @out */
const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT]);
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
bool net_addr_any(const struct net_addr *a);
bool net_addr_loopback(const struct net_addr *a);
struct sockaddr_storage;
/** net_addr_take() - IPv4 in IPv6 is IPv4. Return: false: of another family */
bool net_addr_take(const struct sockaddr_storage *ss, struct net_addr *a, uint16_t *port);

/* ---- net_socks.c: the TCP sockets of a tree ---- */

struct net_flow {
	struct net_addr local, remote;
	uint16_t local_port, remote_port;
	bool listens; /* then remote says nothing; local_port 0: the whole address */
	bool udp; /* listens, too */
	bool lost; /* nobody at the destination will know it */
};

struct net_sock {
	pid_t pid; /* the first that has it */
	int number; /* its descriptor there */
	int fd; /* our copy */
	uint64_t inode;
	int state; /* TCP_ESTABLISHED... */
	unsigned int backlog; /* of a listening one: connections not accepted yet */
	bool reuse; /* SO_REUSEADDR, which repair mode forgets */
	struct net_flow flow;
};

struct net_socks {
	struct net_sock *v;
	size_t n, cap;
};

/**
 * net_socks_collect() - bound TCP and UDP sockets of @pids, each once, with a copy of it
 * @listening: only TCP that listens. Of a running tree no others may be kept: while we have a copy,
 *             the peer is not told that the tree has closed it.
 */
int net_socks_collect(const pid_t *pids, size_t n, bool listening, struct net_socks *out,
                      struct err *e);
/**
 * net_socks_room() - make room for copies of all descriptors of @pids
 * Each time a table of descriptors doubles, a program with threads waits for all CPUs: before
 * the freeze, not in it.
 */
void net_socks_room(const pid_t *pids, size_t n);
/** net_sock_look() - state and ends of the socket @fd. Return: 1; 0 not bound or of another kind */
int net_sock_look(int fd, struct net_sock *out);
/** net_sock_moves() - a state in which CRIU takes the connection along */
bool net_sock_moves(const struct net_sock *s);
const char *net_sock_state(const struct net_sock *s);
/** net_socks_flows() - *out: caller frees. Return: how many; -ENOMEM */
ssize_t net_socks_flows(const struct net_socks *s, struct net_flow **out);
/** net_socks_backlog() - now, of all that listen */
unsigned int net_socks_backlog(const struct net_socks *s);
/** net_socks_repair_off() - they speak again, after a dump that is not used */
void net_socks_repair_off(const struct net_socks *s);
/** net_socks_resegment() - CRIU leaves restored sockets with the smallest segments */
void net_socks_resegment(const struct net_socks *s);
/** net_socks_reset_at_end() - connections end with RST, not FIN, when they are closed */
void net_socks_reset_at_end(const struct net_socks *s);
/** net_peer_abort() - the socket on this host that is the other end of @f fails from now on */
int net_peer_abort(const struct net_flow *f, struct err *e);
void net_socks_fini(struct net_socks *s);

/* ---- net_lock.c: packets of given flows do not pass (nf_tables) ---- */

struct net_lock;

/*
 * What CRIU marks the packets with by which it ends the receiving direction of a restored socket:
 * a FIN as if of the peer. Known to its users by its own firewall rules.
 */
#define NET_CRIU_MARK 0xC114u

/**
 * net_lock_new() - a table of its own named after @id, with sets that are empty
 * It outlives us: a table that vanished with a crash would let the kernel answer for
 * sockets that are somewhere else by now.
 */
int net_lock_new(struct net_lock **out, uint64_t id, struct err *e);
/** net_lock_adopt() - take over the lock of a process that has died, which may not have made it */
int net_lock_adopt(struct net_lock **out, uint64_t id, struct err *e);
/** net_lock_add() - connections: nothing passes, either way; listening: no new ones */
int net_lock_add(struct net_lock *l, const struct net_flow *v, size_t n, struct err *e);
/** net_lock_open() - take the table away, if it is there */
int net_lock_open(struct net_lock *l, struct err *e);
const char *net_lock_name(const struct net_lock *l);
/** net_lock_free() - forget it; a table that was not opened stays */
void net_lock_free(struct net_lock *l);
DEFINE_AUTO(net_lock, net_lock_free)

/* ---- net_park.c: what arrives for locked flows is kept ---- */

struct net_park;

/** net_park_new() - sees nothing yet */
int net_park_new(struct net_park **out, struct err *e);
/** net_park_watch() - keep what arrives for @v from now on; again: for these instead */
int net_park_watch(struct net_park *p, const struct net_flow *v, size_t n, struct err *e);
/** net_park_pull() - take the packets that arrived since the last call, up to a limit. Return: 0; -ENOMEM */
int net_park_pull(struct net_park *p);
/** net_park_push() - a packet from the other host. Return: 0; -EPERM not for a watched flow */
int net_park_push(struct net_park *p, const uint8_t *packet, size_t bytes);
/**
 * net_park_copy() - a packet that a socket here has got already: net_park_release() leaves it out
 * Its sum is made. Return: 0; -ENOMEM
 */
int net_park_copy(struct net_park *p, uint8_t *packet, size_t bytes);
size_t net_park_count(const struct net_park *p);
const uint8_t *net_park_packet(const struct net_park *p, size_t i, size_t *bytes);
/** net_park_release() - all of them arrive at this host now. Return: how many did not */
size_t net_park_release(struct net_park *p);
/**
 * net_park_disown() - a connection that nobody has any more: its peer is made to say something, which
 * the kernel here answers with a reset. Without that it might wait for ever
 */
void net_park_disown(const struct net_park *p, const struct net_flow *f);
/** net_park_stop() - see nothing any more; what was seen can still be pulled */
void net_park_stop(struct net_park *p);
void net_park_free(struct net_park *p);
DEFINE_AUTO(net_park, net_park_free)

/* ---- net_option.c ---- */

#define NET_OPTIONS_MAX 8

/* Those that differ from a new socket's; by the numbers of the table in net_option.c. */
struct net_options {
	bool has[NET_OPTIONS_MAX];
	int value[NET_OPTIONS_MAX];
	char congestion[16]; /* empty: the host's */
};

/** net_options_read() - what CRIU would lose. Return: how many there are */
int net_options_read(const struct net_sock *s, struct net_options *out);
/** net_options_write() - set them again; best effort */
void net_options_write(const struct net_sock *s, const struct net_options *o);

/* ---- net_udp.c ---- */

typedef bool (*net_may_fn)(void *arg, const struct net_addr *to);
/**
 * net_udp_waiting() - datagrams that nobody has read yet, into @p by net_park_copy()
 * The program is stopped; the socket keeps them.
 * @may: shall one that was sent to this address be taken?
 */
int net_udp_waiting(const struct net_sock *s, struct net_park *p, net_may_fn may, void *arg);

/* ---- net_addr.c: addresses that move (rtnetlink, ARP, NDP) ---- */

#define NET_MOVES_MAX 16

struct net_move {
	struct net_addr addr;
	uint8_t prefix; /* 0: as at the source */
	char iface[IF_NAMESIZE]; /* empty: called as at the source */
	/* found at this host */
	unsigned int index; /* 0: not found */
	uint8_t scope;
	uint32_t flags; /* IFA_F_* */
	bool has_broadcast;
	uint8_t broadcast[4];
	bool gone; /* net_move_del() removed it */
};

/** net_move_parse() - ADDR[/LEN][@IFACE] */
int net_move_parse(const char *text, struct net_move *out, struct err *e);
/** net_move_find() - where is it here? fills in what was not given. Return: 0; -ENOENT */
int net_move_find(struct net_move *m, struct err *e);
/** net_addr_here() - does this host have it? Return: 1, 0, -errno */
int net_addr_here(const struct net_addr *a, struct err *e);
/**
 * net_move_harm() - what else would go with the address
 * Return: 1 with a sentence in @why; 0 nothing; -errno
 */
int net_move_harm(const struct net_move *m, char *why, size_t bytes, struct err *e);
/** net_move_del() - off its interface here, after net_move_find() */
int net_move_del(struct net_move *m, struct err *e);
/** net_move_add() - on interface m->iface, without waiting for duplicates to show up */
int net_move_add(struct net_move *m, struct err *e);
/** net_move_announce() - gratuitous ARP, unsolicited neighbour advertisement; best effort */
void net_move_announce(const struct net_move *m);

#endif
