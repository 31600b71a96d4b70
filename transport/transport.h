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

/* ---- preamble.c: what is said before SSH (docs/PROTOCOL.md section 1) ---- */

#define PREAMBLE_HEAD_BYTES      8
#define PREAMBLE_CHALLENGE_BYTES 16
#define PREAMBLE_KEY_MAX         2048 /* "TYPE BASE64" */
#define PREAMBLE_GREETING_MAX    (PREAMBLE_HEAD_BYTES + PREAMBLE_CHALLENGE_BYTES + PREAMBLE_KEY_MAX)
#define PREAMBLE_BYTES           64
#define PREAMBLE_PROVEN_BYTES    32 /* before the proof, and covered by it */
#define PREAMBLE_PROOF_BYTES     32
#define TICKET_ID_BYTES          16
#define TICKET_SECRET_BYTES      32

/* What a destination says first, and in place of SSH. */
enum preamble_says { PREAMBLE_GREETING, PREAMBLE_REFUSAL };
enum preamble_reason {
	PREAMBLE_BUSY = 1,
	PREAMBLE_NO_TICKET,
	PREAMBLE_NO_PROCESS, /* the host can make no more */
	PREAMBLE_NO_DESCRIPTOR,
};

enum preamble_wants { PREAMBLE_LOGIN = 1, PREAMBLE_ENTER };

/* What a source says. */
struct preamble {
	enum preamble_wants wants;
	uint64_t route;
	uint8_t ticket[TICKET_ID_BYTES], proof[PREAMBLE_PROOF_BYTES];
};

/** preamble_greet() - Return: bytes used in @out. @host_key: "TYPE BASE64" */
size_t preamble_greet(uint8_t out[PREAMBLE_GREETING_MAX],
                      const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES], const char *host_key);
/** preamble_refuse() - the answer that ends a connection, with a reason */
void preamble_refuse(uint8_t out[PREAMBLE_HEAD_BYTES], enum preamble_reason why);
/** preamble_reason() - of what failed here. @code: of errno */
enum preamble_reason preamble_reason(int code);
/**
 * preamble_head() - the first bytes of what a destination says
 * @value: of a greeting the bytes of the host key, of a refusal the reason
 * Return: 0; -EPROTO when these are not hauld's bytes
 */
int preamble_head(const uint8_t in[PREAMBLE_HEAD_BYTES], enum preamble_says *says,
                  unsigned int *value, struct err *e);
/** preamble_put() - encode @p */
void preamble_put(uint8_t out[PREAMBLE_BYTES], const struct preamble *p);
/** preamble_get() - Return: 0; -EPROTO when these are not our bytes */
int preamble_get(const uint8_t in[PREAMBLE_BYTES], struct preamble *p, struct err *e);

/* ---- chan.c, client.c, server.c, io.c: one SSH connection with one channel ---- */

/*
 * A channel is thread-safe for one reader and any number of writers at once
 * (each write call is atomic with respect to the others). Both directions may be
 * busy at the same time without deadlock.
 */
struct chan;
struct ProtobufCBinaryData;

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

/* ---- gate.c: tickets ---- */

/* What the holder of an authorized key gets at its login; sent as these bytes. */
struct ticket {
	uint8_t id[TICKET_ID_BYTES], secret[TICKET_SECRET_BYTES];
};

/* Makes and checks tickets; they are good for a day, for this gate, as long as the key is authorized. */
struct gate {
	uint8_t key[32];
	const struct chan_server *server; /* whose list of keys counts */
	char host_key[PREAMBLE_KEY_MAX + 1];
};

/** gate_open() - a gate of which no ticket exists. @s: borrowed */
int gate_open(struct gate *g, const struct chan_server *s, struct err *e);
/** gate_issue() - @print: "SHA256:..." of a key. Return: false: it is not authorized */
bool gate_issue(const struct gate *g, const char *print, struct ticket *out);
/** gate_admits() - does @preamble have a ticket, and the proof of it for @challenge? */
bool gate_admits(const struct gate *g, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
                 const uint8_t preamble[PREAMBLE_BYTES]);
/** gate_prove() - put the proof of @t for @challenge into @preamble. Return: 0; -EIO */
int gate_prove(const struct ticket *t, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
               uint8_t preamble[PREAMBLE_BYTES], struct err *e);

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

/* RUN_SAME: content of the pages that a data run before it in the frame has at the same addresses */
enum run_kind { RUN_DATA = 1, RUN_ZERO = 2, RUN_GONE = 3, RUN_SAME = 4 };

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
 * frame_same() - where the bytes of run number @i are, a RUN_SAME of a frame that was unpacked
 * @data: its data pages
 */
const uint8_t *frame_same(const struct frame *f, uint32_t i, const uint8_t *data);

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
/** wire_copy() - give a field of a message its own copy of @n bytes. Return: 0; -ENOMEM */
int wire_copy(struct ProtobufCBinaryData *to, const void *from, size_t n);
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
