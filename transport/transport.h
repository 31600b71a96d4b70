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
#include "common/page.h"

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
	unsigned int connect_ms; /* for TCP and SSH together */
};

/**
 * chan_connect() - TCP connect, preamble, SSH key exchange, host key check
 *                  against known_hosts, public-key authentication, open channel
 * @out: the caller's, chan_free()
 * Return: 0; -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, ... not reachable;
 *         -EKEYREJECTED host key changed or unknown; -EACCES our key is refused.
 * Every error carries a remedy (err_fix).
 */
int chan_connect(struct chan **out, const struct chan_target *to, struct err *e);

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

/** chan_server_fingerprint() - "SHA256:..." of the host key, in @out */
int chan_server_fingerprint(const struct chan_server *s, char *out, size_t bytes, struct err *e);

/**
 * chan_accept() - server side of SSH on a TCP socket whose preamble was read
 * @fd:       taken in every case
 * @limit_ms: for key exchange, authentication and channel together
 */
int chan_accept(struct chan **out, int fd, const struct chan_server *s, unsigned int limit_ms,
                struct err *e);

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
void chan_get_stats(struct chan *c, struct chan_stats *st);

/** chan_peer() - "SHA256:... comment" of the key that was used, or host:port */
const char *chan_peer(const struct chan *c);

void chan_free(struct chan *c);
DEFINE_AUTO(chan, chan_free)
DEFINE_AUTO(chan_server, chan_server_free)

/* ---- preamble.c: 16 bytes before SSH, so that a daemon can route a socket ---- */

#define TR_PREAMBLE_BYTES 16
void preamble_put(uint8_t out[TR_PREAMBLE_BYTES], uint64_t route);
/* Return: 0 and *route; -EPROTO when these are not our bytes */
int preamble_get(const uint8_t in[TR_PREAMBLE_BYTES], uint64_t *route, struct err *e);

/* ---- trust.c: haul trust HOST ---- */

/**
 * trust_fetch() - connect, fetch the host key, do not authenticate
 * @fingerprint: "SHA256:..."
 * @known:       0 unknown, 1 known and equal, 2 known and different
 */
int trust_fetch(const struct chan_target *to, char *fingerprint, size_t bytes, int *known,
                struct err *e);
/** trust_store() - fetch again, require @fingerprint, write known_hosts */
int trust_store(const struct chan_target *to, const char *fingerprint, struct err *e);

/* ---- frame.c: page frames, pure functions over buffers ---- */

#define FRAME_HEAD_BYTES 24u
#define FRAME_RUN_BYTES  24u
#define FRAME_PAGES_MAX  128u /* data pages in one frame: 512 KiB */
#define FRAME_RUNS_MAX   128u
#define FRAME_BODY_MAX   (FRAME_RUNS_MAX * FRAME_RUN_BYTES + FRAME_PAGES_MAX * PAGE_BYTES + 4096u)

enum frame_type {
	FRAME_PAGES = 1, /* runs, then the bytes of the data runs in order */
	FRAME_MARK = 2, /* everything of round @mark was sent on this stream */
	FRAME_WANT = 3, /* destination asks for the runs' pages, now */
	FRAME_BYE = 4, /* nothing follows */
};

enum run_kind { RUN_DATA = 1, RUN_ZERO = 2, RUN_GONE = 3 };

struct frame_run {
	uint64_t obj; /* obj_of_task(pid) or obj_of_shmem(ID) */
	uint64_t vaddr; /* page aligned */
	uint32_t pages;
	uint32_t kind; /* enum run_kind */
};

enum frame_codec { CODEC_NONE = 0, CODEC_LZ4 = 1 };

struct frame {
	enum frame_type type;
	enum frame_codec codec;
	uint32_t mark;
	uint32_t n_runs;
	uint32_t data_pages; /* sum over RUN_DATA runs */
	uint32_t body_bytes; /* what follows the header on the wire */
	struct frame_run runs[FRAME_RUNS_MAX];
};

/**
 * frame_pack() - header and runs into @head; the data follows as it is or packed
 * @f:    type, codec, mark, runs are given; counts are computed
 * @head: room for FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES
 * @packed_bytes: bytes of the data part as it will be sent
 * Return: bytes used in @head
 */
size_t frame_pack(struct frame *f, uint8_t *head, uint32_t packed_bytes);

/**
 * frame_unpack_head() - check and read the 24 bytes of a header
 * Every length is checked here, before anything is allocated or read.
 */
int frame_unpack_head(struct frame *f, const uint8_t head[FRAME_HEAD_BYTES], struct err *e);

/**
 * frame_unpack_body() - runs from a body of f->body_bytes, data decompressed
 * @data: room for FRAME_PAGES_MAX pages, used when the codec is not NONE
 * @out:  where the data pages are: inside @body or @data
 * Checks: aligned, below 2^56, counts agree, kinds known, no overflow.
 */
int frame_unpack_body(struct frame *f, const uint8_t *body, uint8_t *data, const uint8_t **out,
                      struct err *e);

/**
 * frame_send() / frame_recv() - one frame on a channel
 * @data for send: f->data_pages * PAGE_BYTES bytes as iovecs; compressed here when
 * f->codec says so. @buf for recv: FRAME_BODY_MAX + FRAME_PAGES_MAX pages.
 */
int frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
               uint64_t deadline_us, struct err *e);
int frame_recv(struct chan *c, struct frame *f, uint8_t *buf, const uint8_t **data,
               uint64_t deadline_us, struct err *e);

/* ---- wire.c, say.c: control messages, haul.proto ---- */

struct Haul__Msg;
#define WIRE_MSG_MAX_BYTES (64u << 20)

/* Of HELLO. 2: PLACED, for which the source waits. */
#define PROTOCOL_VERSION 2
#define PROTOCOL_COMPAT  2 /* the oldest version that we understand */
#define PROTOCOL_COMPAT_RESUME                                                                     \
	1 /* the same for later connections: a host may be upgraded meanwhile */

/** wire_send() - length-prefixed protobuf */
int wire_send(struct chan *c, const struct Haul__Msg *m, uint64_t deadline_us, struct err *e);
/**
 * wire_say() - send one control message
 * @kind: HAUL__MSG__BODY_...
 * @body: the message of that kind, borrowed; NULL sends one without fields
 * Return: 0; -errno as chan_write(); -EINVAL when @body is a message of another kind
 */
int wire_say(struct chan *c, int kind, const void *body, uint64_t deadline_us, struct err *e);
/** wire_say_hello_back() - the destination's HELLO on a further connection of a migration */
int wire_say_hello_back(struct chan *c, uint64_t deadline_us, struct err *e);
struct Haul__Ping;
/** wire_pong() - answer @ping */
int wire_pong(struct chan *c, const struct Haul__Ping *ping, uint64_t deadline_us, struct err *e);
/**
 * wire_recv() - next message; the caller frees with haul__msg__free_unpacked
 * An ABORT from the peer is returned like any other message.
 */
int wire_recv(struct chan *c, struct Haul__Msg **out, uint64_t deadline_us, struct err *e);

#endif
