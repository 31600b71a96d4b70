/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transport-pair.h - two ends of a channel in one process, with keys of their own. */
#ifndef HAUL_TRANSPORT_PAIR_H
#define HAUL_TRANSPORT_PAIR_H

#include "transport/priv.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "checks.h"
#include "transport-gate.h"

#define CONNECT_MS 5000
#define T_LIMIT_S  60 /* whatever hangs ends then */

static char t_dir[64];

static inline void t_begin(void)
{
	snprintf(t_dir, sizeof(t_dir), "/tmp/haul-t-XXXXXX");
	MUST(mkdtemp(t_dir));
	signal(SIGPIPE, SIG_IGN);
	alarm(T_LIMIT_S);
}

static inline const char *t_path(const char *name)
{
	static _Thread_local char ring[8][160];
	static _Thread_local int i;

	i = (i + 1) % 8;
	snprintf(ring[i], sizeof(ring[i]), "%s/%s", t_dir, name);
	return ring[i];
}

static inline void t_end(void)
{
	DIR *d = opendir(t_dir);
	struct dirent *ent;

	while (d && (ent = readdir(d)))
		if (ent->d_name[0] != '.')
			unlink(t_path(ent->d_name));
	closedir(d);
	rmdir(t_dir);
}

/* A private key in file @name; its public line "PREFIXtype base64 @name" in @line. */
static inline void t_key(const char *name, const char *passphrase, char *line, size_t bytes)
{
	ssh_key key = NULL;
	char *pub = NULL;

	MUST(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) == SSH_OK);
	MUST(ssh_pki_export_privkey_file(key, passphrase, NULL, NULL, t_path(name)) == SSH_OK);
	MUST(ssh_pki_export_pubkey_base64(key, &pub) == SSH_OK);
	snprintf(line, bytes, "ssh-ed25519 %s %s", pub, name);
	ssh_string_free_char(pub);
	ssh_key_free(key);
}

static inline void t_write(const char *name, mode_t mode, const char *text)
{
	FILE *f = fopen(t_path(name), "we");

	MUST(f && fputs(text, f) >= 0 && fputc('\n', f) == '\n' && fclose(f) == 0);
	MUST(chmod(t_path(name), mode) == 0);
}

static inline int t_listen(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 8) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* ---- the accepting end, in a thread ---- */

struct t_host {
	struct chan_server *server;
	struct t_gate gate;
	int listener;
	uint16_t port;
	unsigned int limit_ms;
	pthread_t thread;
	struct chan *ch; /* of the last t_accepted() */
	int r;
	struct err e;
	uint64_t route;
};

static inline void t_host_open(struct t_host *h, const char *host_key)
{
	struct err e = ERR_INIT;

	memset(h, 0, sizeof(*h));
	h->limit_ms = CONNECT_MS;
	h->listener = t_listen(&h->port);
	MUST_E(chan_server_new(&h->server, t_path(host_key), t_path("authorized"), &e) == 0, e);
	MUST_E(t_gate_open(&h->gate, h->server, &e) == 0, e);
}

static inline void t_host_close(struct t_host *h)
{
	close(h->listener);
	t_gate_close(&h->gate);
	chan_server_free(h->server);
}

static inline void *t_accept_main(void *arg)
{
	struct t_host *h = arg;

	h->r = t_gate_accept(&h->gate, h->listener, h->limit_ms, &h->ch, &h->route, &h->e);
	return NULL;
}

static inline void t_accept(struct t_host *h)
{
	h->ch = NULL;
	err_clear(&h->e);
	MUST(pthread_create(&h->thread, NULL, t_accept_main, h) == 0);
}

/* Return: what chan_accept() said; h->ch is the caller's */
static inline int t_accepted(struct t_host *h)
{
	MUST(pthread_join(h->thread, NULL) == 0);
	return h->r;
}

static inline struct chan_target t_target(const struct t_host *h)
{
	return (struct chan_target){ .host = "127.0.0.1",
		                     .port = h->port,
		                     .identity = t_path("id"),
		                     .known_hosts = t_path("known_hosts"),
		                     .connect_ms = CONNECT_MS };
}

static inline void t_trust(struct t_host *h)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	char print[128];
	int known;

	t_accept(h);
	MUST_E(trust_fetch(&to, print, sizeof(print), &known, &e) == 0, e);
	MUST(t_accepted(h) < 0);
	t_accept(h);
	MUST_E(trust_store(&to, print, &e) == 0, e);
	MUST(t_accepted(h) < 0);
}

/* Both ends, ready to use. */
static inline void t_pair(struct t_host *h, struct chan **client, struct chan **server)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;

	t_accept(h);
	MUST_E(chan_connect(client, &to, &e) == 0, e);
	MUST_E(t_accepted(h) == 0, h->e);
	*server = h->ch;
}

#endif
