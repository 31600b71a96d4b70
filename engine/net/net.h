/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - the network of a tree that moves, on one host. Knows nothing of peers. */
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

/* "ff02:...%interface" does not occur: link-local names are kept without scope */
#define NET_ADDR_TEXT INET6_ADDRSTRLEN
/** net_addr_text() - for people; returns @out */
const char *net_addr_text(const struct net_addr *a, char out[NET_ADDR_TEXT]);
/** net_addr_equal() - the same family and address? */
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
/** net_addr_any() - 0.0.0.0 or ::? */
bool net_addr_any(const struct net_addr *a);
/** net_addr_loopback() - 127.0.0.0/8 or ::1? */
bool net_addr_loopback(const struct net_addr *a);
struct sockaddr_storage;
/** net_addr_take() - IPv4 in IPv6 is IPv4. Return: false: of another family */
bool net_addr_take(const struct sockaddr_storage *ss, struct net_addr *a, uint16_t *port);

/* ---- socks.c: the TCP sockets of a tree ---- */

struct net_flow {
	struct net_addr local, remote;
	uint16_t local_port, remote_port;
	bool listens; /* then remote is empty; local_port 0: the whole address */
	bool udp; /* includes listening sockets */
	bool lost; /* the destination will not have it */
	bool cut; /* the destination has it, but not its peer */
	bool stays; /* locked here, but not handed over: it is closed when the tree runs elsewhere */
};

struct net_sock {
	pid_t pid; /* the first process that has it */
	int number; /* its descriptor in that process */
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
/* A descriptor of @pid that is a socket. */
struct net_place {
	pid_t pid;
	int number;
	uint64_t inode; /* of the socket; 0: it is none, and is left out */
};
/**
 * net_socks_take() - net_socks_collect() of all kinds where it is known which descriptors are sockets
 * @v: each socket once, those of a process in a row
 */
int net_socks_take(const struct net_place *v, size_t n, struct net_socks *out, struct err *e);
/**
 * net_socks_room() - make room for copies of all descriptors of @pids. When the kernel doubles a
 * table of descriptors, a program with threads waits for all CPUs: do that before the freeze.
 */
void net_socks_room(const pid_t *pids, size_t n);
/** net_sock_moves() - is this a state in which CRIU moves the connection? */
bool net_sock_moves(const struct net_sock *s);
/** net_sock_state() - name of the TCP state, as ss(8) prints it */
const char *net_sock_state(const struct net_sock *s);
/** net_socks_flows() - of those that listen. *out: caller frees. Return: how many; -ENOMEM */
ssize_t net_socks_flows(const struct net_socks *s, struct net_flow **out);
/** net_socks_backlog() - the present backlog of all listening sockets */
unsigned int net_socks_backlog(const struct net_socks *s);
/** net_socks_repair_off() - the sockets send again, after a dump that is not used */
void net_socks_repair_off(const struct net_socks *s);
/** net_sock_abort() - end a connection of a stopped program with a reset, out of repair mode */
void net_sock_abort(const struct net_sock *s);
/**
 * net_sock_fail() - the connection of the restored socket @fd was closed by its move: the program finds
 * it reset, not ended, which it could take for the end of the data. Return: 0; -errno
 */
int net_sock_fail(int fd);
/** net_socks_resegment() - CRIU leaves restored sockets with the smallest segments */
void net_socks_resegment(const struct net_socks *s);
/** net_sock_reset_at_end() - it ends with a reset, out of repair mode, when the last process closes it */
void net_sock_reset_at_end(const struct net_sock *s);
/** net_socks_cut() - end the connections @f of @s with a reset: waiting calls return ECONNRESET */
void net_socks_cut(const struct net_socks *s, const struct net_flow *f, size_t n);
/** net_peer_abort() - the socket on this host that is the other end of @f fails from now on */
int net_peer_abort(const struct net_flow *f, struct err *e);
void net_socks_fini(struct net_socks *s);

/* ---- mates.c ---- */

struct net_mates;

/** net_mates_new() - of the connections @v, which stay the caller's. Return: 0; -ENOMEM */
int net_mates_new(struct net_mates **out, const struct net_flow *v, size_t n);
/** net_mate() - the number of the connection that is the other end of @f; -1: none is */
ssize_t net_mate(const struct net_mates *m, const struct net_flow *f);
void net_mates_free(struct net_mates *m);
DEFINE_AUTO(net_mates, net_mates_free)

/* ---- lock.c: packets of given flows are dropped (nf_tables) ---- */

struct net_lock;

/*
 * The mark of the packets with which CRIU ends the receiving direction of a restored socket: a FIN
 * as if from the peer. CRIU's users know it from their firewall rules.
 */
#define NET_CRIU_MARK 0xC114u

/**
 * net_lock_new() - a table of its own named after @id, with sets that are empty
 * It outlives us: a table that vanished with a crash would let the kernel answer for
 * sockets that are somewhere else by now.
 */
int net_lock_new(struct net_lock **out, uint64_t id, struct err *e);
/** net_lock_adopt() - take over the lock of a process that has died, perhaps before it made it */
int net_lock_adopt(struct net_lock **out, uint64_t id, struct err *e);
/** net_lock_add() - connections: drop all packets, both ways; listening: no new ones */
int net_lock_add(struct net_lock *l, const struct net_flow *v, size_t n, struct err *e);
/** net_lock_del() - let the packets of these connections pass again */
int net_lock_del(struct net_lock *l, const struct net_flow *v, size_t n, struct err *e);
/** net_lock_open() - remove the table, if it exists */
int net_lock_open(struct net_lock *l, struct err *e);
/** net_lock_free() - free @l; a table that was not opened stays */
void net_lock_free(struct net_lock *l);
DEFINE_AUTO(net_lock, net_lock_free)

/* ---- park.c: packets that arrive for locked flows are kept ---- */

struct net_park;

/** net_park_new() - keeps nothing yet */
int net_park_new(struct net_park **out, struct err *e);
/** net_park_watch() - keep the packets that arrive for @v from now on; again: for these instead */
int net_park_watch(struct net_park *p, const struct net_flow *v, size_t n, struct err *e);
typedef bool (*net_may_fn)(void *arg, const struct net_addr *to);
/** net_park_only() - sockets bound to all addresses: packets for an address that @may denies stay on this host */
void net_park_only(struct net_park *p, net_may_fn may, void *arg);
/** net_park_pull() - take the packets that arrived since the last call, up to a limit. Return: 0; -ENOMEM */
int net_park_pull(struct net_park *p);
/** net_park_push() - a packet from the other host. Return: 0; -EPERM not for a watched flow */
int net_park_push(struct net_park *p, const uint8_t *packet, size_t bytes);
/**
 * net_park_copy() - a packet that a socket here has got already: net_park_release() leaves it out
 * Its sum is made. Return: 0; -ENOMEM
 */
int net_park_copy(struct net_park *p, uint8_t *packet, size_t bytes);
/** net_park_count() - how many packets are parked */
size_t net_park_count(const struct net_park *p);
/** net_park_stays() - is packet @i for a flow that stays, or for an address that does? */
bool net_park_stays(const struct net_park *p, size_t i);
/** net_park_packet() - packet @i with its IP header; belongs to @p. *bytes: its length */
const uint8_t *net_park_packet(const struct net_park *p, size_t i, size_t *bytes);
/**
 * net_park_release() - deliver all of them on this host now. Return: number of packets that failed
 */
size_t net_park_release(struct net_park *p);
/**
 * net_park_disown() - a connection that no process has any more: make its peer send a packet, which
 * the kernel here answers with a reset. Without that the peer might wait for ever
 */
void net_park_disown(const struct net_park *p, const struct net_flow *f);
/** net_park_stop() - keep no more; packets that were kept can still be pulled */
void net_park_stop(struct net_park *p);
void net_park_free(struct net_park *p);
DEFINE_AUTO(net_park, net_park_free)

/* ---- option.c ---- */

#define NET_OPTIONS_MAX 8

/* Options that differ from a new socket's, by their numbers in the table of option.c. */
struct net_options {
	bool has[NET_OPTIONS_MAX];
	int value[NET_OPTIONS_MAX];
	char congestion[16]; /* empty: the host's default */
};

/** net_options_read() - options that CRIU would lose. Return: their number */
int net_options_read(const struct net_sock *s, struct net_options *out);
/** net_options_write() - set them again; best effort */
void net_options_write(const struct net_sock *s, const struct net_options *o);

/* ---- udp.c ---- */

/**
 * net_udp_waiting() - datagrams that nobody has read yet, into @p by net_park_copy()
 * The program is stopped; the socket keeps them.
 * @may: shall one that was sent to this address be taken?
 */
int net_udp_waiting(const struct net_sock *s, struct net_park *p, net_may_fn may, void *arg);

/* ---- addr.c, announce.c: addresses that move (rtnetlink, ARP, NDP) ---- */

#define NET_MOVES_MAX 16

struct net_move {
	struct net_addr addr;
	uint8_t prefix; /* 0: as at the source */
	char iface[IF_NAMESIZE]; /* empty: named as at the source */
	/* found on this host */
	unsigned int index; /* 0: not found */
	uint8_t scope;
	uint32_t flags; /* IFA_F_* */
	bool has_broadcast;
	uint8_t broadcast[4];
	bool gone; /* net_move_del() removed it */
};

/** net_move_parse() - ADDR[/LEN][@IFACE] */
int net_move_parse(const char *text, struct net_move *out, struct err *e);
/** net_move_find() - find it on this host, and fill in what was not given. Return: 0; -ENOENT */
int net_move_find(struct net_move *m, struct err *e);
/** net_addr_here() - does this host have it? Return: 1, 0, -errno */
int net_addr_here(const struct net_addr *a, struct err *e);
/**
 * net_move_harm() - what else would be lost with the address. Return: 1 with a sentence in @why; 0
 * nothing; -errno
 */
int net_move_harm(const struct net_move *m, char *why, size_t bytes, struct err *e);
/** net_move_del() - remove it from its interface here, after net_move_find() */
int net_move_del(struct net_move *m, struct err *e);
/** net_move_add() - add it to interface m->iface, without waiting for duplicates to show up */
int net_move_add(struct net_move *m, struct err *e);
/** net_move_announce() - gratuitous ARP, unsolicited neighbour advertisement; best effort */
void net_move_announce(const struct net_move *m);

/* ---- unix.c ---- */

/* A UNIX socket of this host. */
struct net_unix {
	uint64_t inode, peer; /* peer 0: none */
	bool waits; /* a listener, or a datagram socket: it is bound to its path itself */
	uint64_t dev, file; /* of its path, 32 bits of the inode number; file 0: none */
};

/** net_unix_list() - all of them, by inode. @out: an array of @n, the caller's. Return: 0; -errno */
int net_unix_list(struct net_unix **out, size_t *n, struct err *e);
/** net_unix_find() - NULL: there is none */
const struct net_unix *net_unix_find(const struct net_unix *v, size_t n, uint64_t inode);

/**
 * net_unix_passed() - the descriptors that wait in the queue of the UNIX socket @fd, which keeps them
 * @fn: gets a copy of each, which is closed afterwards; < 0 ends it
 * Return: 0; -errno; what @fn returned
 */
typedef int (*net_passed_fn)(void *arg, int fd);
int net_unix_passed(int fd, net_passed_fn fn, void *arg);
/**
 * net_unix_first() - the first of them, of a socket whose program runs: nothing of the socket changes
 * Return: as above; -EBUSY the program peeks by itself
 */
int net_unix_first(int fd, net_passed_fn fn, void *arg);

#endif
