/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transport.h - authenticated byte channels over SSH, and who is trusted. */
#ifndef HAUL_TRANSPORT_H
#define HAUL_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/auto.h"
#include "common/err.h"
#include "transport/preamble.h"

#define TR_PORT_DEFAULT 4285

/* ---- chan.c, client.c, server.c, io.c: one SSH connection with one channel ---- */

/*
 * A channel is thread-safe for one reader and any number of writers at once
 * (each write call is atomic with respect to the others). Both directions may be
 * busy at the same time without deadlock.
 */
struct chan;

struct chan_target {
	const char *host; /* name or address */
	uint16_t port;
	const char *identity; /* private key file; NULL: the default ones */
	const char *known_hosts; /* NULL: the default file */
	uint64_t route; /* 0: a new migration, else see PROTOCOL.md */
	unsigned int connect_ms; /* for all of chan_connect() */
	/* not NULL: the other end is of this host. Return: a connected socket; -errno */
	int (*dial)(void *arg, uint64_t route, struct err *e);
	void *dial_arg;
};

/**
 * chan_connect() - a ticket, if we have none yet (a login of its own); then TCP connect, preamble,
 *                  SSH key exchange, host key check against known_hosts, public-key
 *                  authentication, open channel. A host that is busy is asked again.
 * @out: the caller's, chan_free()
 * Return: 0; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, ... not reachable;
 *         -EKEYREJECTED host key changed or unknown; -EACCES our key is refused.
 * Every error carries a remedy (err_fix).
 */
int chan_connect(struct chan **out, const struct chan_target *to, struct err *e);

/**
 * chan_plain() - a channel without SSH, over a socket whose other end this program has, or has given
 *                to one that it started
 * @fd: a stream socket, taken in every case
 */
int chan_plain(struct chan **out, int fd, const char *peer, struct err *e);

struct chan_server; /* host key + authorized keys; made once per daemon */

/**
 * chan_server_new() - load the host key (made at first start, mode 0600) and the
 *                     list of authorized keys (OpenSSH authorized_keys format)
 * @host_key_path:   created if it does not exist
 * @authorized_path: read again at each authentication; may not exist (then
 *                   every connection is refused)
 */
int chan_server_new(struct chan_server **out, const char *host_key_path,
                    const char *authorized_path, struct err *e);
void chan_server_free(struct chan_server *s);

/**
 * chan_server_new_asking() - one with a host key of its own, that no other process has, and no list
 * @ask: may a client with the key of this fingerprint log in? Called by the thread in chan_accept()
 */
int chan_server_new_asking(struct chan_server **out, bool (*ask)(void *arg, const char *print),
                           void *arg, struct err *e);

/** chan_server_fingerprint() - "SHA256:..." of the host key, in @out */
int chan_server_fingerprint(const struct chan_server *s, char *out, size_t bytes, struct err *e);
/** chan_server_key_text() - "TYPE BASE64" of the public host key, in @out */
int chan_server_key_text(const struct chan_server *s, char *out, size_t bytes, struct err *e);

/**
 * chan_accept() - server side of SSH on a TCP socket whose preamble was read
 * @fd:       taken in every case
 * @s:        NULL: chan_plain()
 * @limit_ms: for key exchange, authentication and channel together
 */
int chan_accept(struct chan **out, int fd, const struct chan_server *s, unsigned int limit_ms,
                struct err *e);

/**
 * chan_refuse() - in place of chan_accept(), or of a greeting: say why, and close @fd
 * Nothing that the peer has said stays unread: it would get a reset, and not hear why.
 */
void chan_refuse(int fd, enum preamble_reason why);

/** chan_write() - all bytes of @iov, or an error. -ETIMEDOUT at @deadline_us */
int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e);

/** chan_read() - exactly @bytes. -EPIPE at the peer's end of stream; -ETIMEDOUT */
int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e);

/** chan_cancel() - from any thread: current and later calls return -ECANCELED */
void chan_cancel(struct chan *c);

/**
 * chan_go_first() - do not queue what is written here behind pages on this host's link
 * (SO_PRIORITY; the queueing disciplines pfifo_fast and fq_codel both then let it pass)
 */
void chan_go_first(struct chan *c);

/** chan_silence() - fail a write without deadline when the peer acknowledges nothing for @ms */
void chan_silence(struct chan *c, unsigned int ms);

/** chan_unacked() - how many bytes were written that the peer's kernel has not acknowledged */
uint64_t chan_unacked(const struct chan *c);

struct chan_stats {
	uint64_t in_bytes, out_bytes; /* payload given to and by SSH */
};
/** chan_get_stats() - counters as of now */
void chan_get_stats(struct chan *c, struct chan_stats *st);

/** chan_peer() - "SHA256:... comment" of the key that was used, or host:port */
const char *chan_peer(const struct chan *c);

void chan_free(struct chan *c);
DEFINE_AUTO(chan, chan_free)
DEFINE_AUTO(chan_server, chan_server_free)

/* ---- trust.c: haul trust HOST ---- */

/**
 * trust_fetch() - connect, and see which host key the host says it has; no SSH
 * @fingerprint: "SHA256:..."
 * @known:       0 unknown, 1 known and equal, 2 known and different
 */
int trust_fetch(const struct chan_target *to, char *fingerprint, size_t bytes, int *known,
                struct err *e);
/** trust_store() - fetch again, require @fingerprint, write known_hosts */
int trust_store(const struct chan_target *to, const char *fingerprint, struct err *e);

#endif
