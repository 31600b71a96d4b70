/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of transport/ share: the inside of a channel. */
#ifndef HAUL_TRANSPORT_PRIV_H
#define HAUL_TRANSPORT_PRIV_H

#include <libssh/libssh.h>
#include <libssh/callbacks.h>
#include <pthread.h>

#include "transport/keys/keys.h"
#include "transport/transport.h"

#define TR_CONF_DIR  "/etc/haul"
#define TR_SUBSYSTEM "haul"
#define TR_USER      "haul" /* SSH needs a user name; the server ignores it */

/*
 * For tests and benchmarks only: set before the first channel, NULL and 0 give the
 * defaults.
 */
struct tr_tuning {
	const char *ciphers;
	uint64_t rekey_bytes; /* new session keys after this many bytes */
};
extern struct tr_tuning tr_tuning;

/* ---- turn.c: a fair lock (first come, first served), with a deadline and cancellation ---- */

struct turn {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool taken, handed;
	unsigned int waiting;
};

/** turn_init() - nobody has it */
void turn_init(struct turn *t);
void turn_fini(struct turn *t);
/** turn_take() - wait for the turn. Return: 0; -ETIMEDOUT; -ECANCELED: @cancelled became true */
int turn_take(struct turn *t, const bool *cancelled, uint64_t deadline_us);
/** turn_give() - let the next one have it; it is the caller's now */
void turn_give(struct turn *t);
/** turn_wake() - make all waiters check their @cancelled */
void turn_wake(struct turn *t);

/* ---- spill.c: bytes that arrived before a read asked for them ---- */

struct spill {
	uint8_t *p;
	size_t head, tail, cap;
};

#define SPILL_MAX (1u << 20)

/** spill_put() - Return: how many bytes there was room (and memory) for */
size_t spill_put(struct spill *s, const void *p, size_t bytes);
/** spill_get() - Return: how many bytes were there, at most @bytes */
size_t spill_get(struct spill *s, void *p, size_t bytes);
void spill_fini(struct spill *s);

/* ---- chan.c, io.c ---- */

/*
 * Locks, in the order in which they are taken: turn of the writers (it guards torn_write to
 * moved_us); gate, then ssh. Every field below `ssh` needs that lock.
 */
struct chan {
	int fd; /* ours to poll; libssh has a copy, which it may close at any time */
	int wake_reader, wake_writer, cancel; /* eventfds */
	bool cancelled;
	struct chan_stats stats;
	char peer[160];
	void *owner; /* callbacks that libssh points to; freed with the channel */
	struct turn writers;
	bool torn_write; /* part of a message was sent: nothing may follow it */
	uint8_t *stage; /* where small pieces of a write are joined */
	unsigned int silence_ms;
	uint64_t unacked, moved_us; /* the last value of chan_unacked(), and when it last changed */
	struct chan *next; /* keeper.c */

	pthread_mutex_t gate; /* makes `ssh` fair: a waiter holds it */
	pthread_mutex_t ssh; /* around every call of libssh */
	ssh_session session; /* NULL: plain.c */
	ssh_channel channel;
	ssh_event event;
	struct ssh_channel_callbacks_struct on_data;
	struct {
		uint8_t *at; /* where the bytes of its read go */
		size_t left;
		bool waits;
	} reader;
	bool writer_waits;
	struct spill spill;
	size_t left_in_ssh; /* bytes that the spill had no room for */
	size_t ungranted; /* bytes received since the window was widened */
	bool widening;
	bool eof; /* the peer is leaving; its last bytes may still be in the spill */
	bool answered, leaving; /* we confirmed that we have everything; we are leaving */
};

/**
 * chan_wrap() - a channel over an authenticated session
 * @fd, @session, @channel, @owner: taken in every case; @owner with free()
 */
int chan_wrap(struct chan **out, int fd, ssh_session session, ssh_channel channel, void *owner,
              const char *peer, struct err *e);

/** chan_take_data() - libssh's data callback */
int chan_take_data(ssh_session session, ssh_channel channel, void *data, uint32_t bytes,
                   int is_stderr, void *arg);

/* ---- plain.c: what chan_read() and chan_write() do on a channel without a session ---- */

/** plain_read() - as chan_read() */
int plain_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e);
/** plain_write() - as chan_write() */
int plain_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us,
                struct err *e);

/* ---- chan_core.c ---- */

/** chan_lock() - take the lock of libssh's session */
void chan_lock(struct chan *c);
/** chan_unlock() - give it back */
void chan_unlock(struct chan *c);
/** chan_pump() - move bytes between the socket and libssh. Lock held. Return: did any move? */
bool chan_pump(struct chan *c);
/** chan_notify() - wake the reader and the writer if they can continue now. Lock held */
void chan_notify(struct chan *c);
/** chan_dead() - is the connection lost or closed? Lock held */
bool chan_dead(const struct chan *c);
/** chan_pending() - does libssh hold bytes that the socket did not take yet? Lock held */
bool chan_pending(const struct chan *c);
/** chan_poke() - make the eventfd @fd readable */
void chan_poke(int fd);

/* ---- keeper.c: answers the peer when no thread reads or writes ---- */

/** keeper_add() - Return: 0; -errno: the channel must not be used */
int keeper_add(struct chan *c, struct err *e);
/**
 * keeper_remove() - the thread that keeps idle channels alive forgets @c; waits while it uses it
 */
void keeper_remove(struct chan *c);

/* ---- resolve.c ---- */

struct addrinfo;
/** tcp_resolve() - Return: 0 and a list for freeaddrinfo(); an EAI_ code, EAI_INPROGRESS at the deadline */
int tcp_resolve(struct addrinfo **out, const char *host, uint16_t port, uint64_t deadline_us);

/* ---- tcp.c ---- */

/** tcp_connect() - by name, within @deadline_us, tuned */
int tcp_connect(const struct chan_target *to, uint64_t deadline_us, struct err *e);
/** tcp_tune() - no delay, keepalive, and an end to unacknowledged silence */
void tcp_tune(int fd);
/** tcp_go_first() - mark the packets of @fd as urgent for the queues on the way; a failure does not matter */
void tcp_go_first(int fd);

/* ---- session.c: SSH sessions before they are channels ---- */

/** session_set() - options of both ends */
int session_set(ssh_session s);
/** session_wait() - for the socket of a nonblocking call. Return: 0; -ETIMEDOUT */
int session_wait(ssh_session s, int fd, uint64_t deadline_us);
/** session_fd() - a copy of @fd, for libssh to own. Return: descriptor or -errno */
int session_fd(int fd, struct err *e);
/** session_ciphers() - in our order, or tr_tuning's */
const char *session_ciphers(void);

/* ---- visit.c ---- */

/* A connection on which the host has said its greeting. */
struct visit {
	int fd;
	uint8_t challenge[PREAMBLE_CHALLENGE_BYTES];
	ssh_key host_key; /* as the host says; nothing proves it yet */
	bool busy,
	        shut; /* it did not come to that: the host has no room; it closed the connection */
};

/** visit_open() - connect, hear the greeting; within @deadline_us. @c: visit_close() in any case */
int visit_open(const struct chan_target *to, struct visit *c, uint64_t deadline_us, struct err *e);
/** visit_close() - close the connection; also after a failure */
void visit_close(struct visit *c);
/** visit_hear() - all @bytes that the host says before SSH. @flags: of recv(). Return: 0; -errno */
int visit_hear(const struct chan_target *to, struct visit *c, void *buf, size_t bytes, int flags,
               uint64_t deadline_us, struct err *e);
/** visit_refused() - hear why. Return: -EBUSY; -ESTALE: our ticket is not good there; -errno */
int visit_refused(const struct chan_target *to, struct visit *c, uint64_t deadline_us,
                  struct err *e);
/** visit_shut() - the error that the host has closed the connection */
int visit_shut(const struct chan_target *to, struct visit *c, const char *why, struct err *e);
/** visit_again() - wait a little before try @n + 1. Return: false: that is too late, or too often */
bool visit_again(const struct visit *c, unsigned int n, uint64_t deadline_us);
/** visit_late() - the error that the deadline of @to has passed */
int visit_late(const struct chan_target *to, struct err *e);

/* ---- login.c: who we are ---- */

/** login_run() - present our keys until the host takes one. Return: 0; -EACCES; -errno */
int login_run(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us,
              struct err *e);

/* ---- known.c: whom we trust ---- */

enum { KNOWN_NOT = 0, KNOWN_SAME = 1, KNOWN_OTHER = 2 };

/** known_path() - the file of @to, or ours */
const char *known_path(const struct chan_target *to);
/** known_look_up() - what the file says of @key, in *@as. Return: 0; -errno: it cannot be read */
int known_look_up(const struct chan_target *to, ssh_key key, int *as, struct err *e);
/** known_check() - is @key the one that we know of this host? Return: 0; -EKEYREJECTED */
int known_check(const struct chan_target *to, ssh_key key, struct err *e);
/** known_add() - add a line. Return: 0; -errno */
int known_add(const struct chan_target *to, ssh_key key);

/* ---- server.c ---- */

/** server_allows() - is there a key for which @is holds among those that may log in? */
bool server_allows(const struct chan_server *s, key_is is, const void *arg);

#endif
