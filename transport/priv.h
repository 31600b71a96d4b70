/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of transport/ share: the inside of a channel. */
#ifndef HAUL_TRANSPORT_PRIV_H
#define HAUL_TRANSPORT_PRIV_H

#include <libssh/libssh.h>
#include <pthread.h>

#include "transport/transport.h"

/* Ciphers by measured speed; only modern AEADs (see tests/bench/ssh-raw.c). */
#define TR_CIPHERS "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"

#define TR_SUBSYSTEM "haul"

/* ---- chan.c ---- */

struct chan {
	pthread_mutex_t ssh; /* around every libssh call */
	pthread_mutex_t write; /* a write is atomic among writers */
	ssh_session session;
	ssh_channel channel;
	ssh_event event; /* pumps the socket both ways */
	int fd;
	int wake_reader, wake_writer, cancel; /* eventfds */
	bool writer_waits, cancelled;
	struct chan_stats stats;
	char peer[160];
	void *owner; /* server: callbacks, freed with the channel */
};

/** chan_wrap() - a channel over an authenticated session; takes both */
int chan_wrap(struct chan **out, ssh_session session, ssh_channel channel, const char *peer,
              struct err *e);

/* ---- tcp.c ---- */

/** tcp_connect() - by name, within @deadline_us, tuned; sends the preamble */
int tcp_connect(const struct chan_target *to, uint64_t deadline_us, struct err *e);

/* ---- client.c ---- */

/** client_session() - TCP and key exchange done, nothing trusted yet */
int client_session(const struct chan_target *to, ssh_session *out, uint64_t deadline_us,
                   struct err *e);
/** key_print() - "SHA256:..." of a public key */
int key_print(ssh_key key, char *out, size_t bytes);

#endif
