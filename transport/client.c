// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * client.c - the connecting end: a ticket, then connections that have it. docs/PROTOCOL.md section 1.
 * Before SSH: visit.c. Who we are: login.c. Whom we trust: known.c.
 */
#include "transport/priv.h"

#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "transport/gate.h"

#define TICKETS_MAX 8

/* ---- before SSH ---- */

/* Say what we want; with a @ticket: to enter. Then SSH begins, or a refusal comes. */
static int say_preamble(const struct chan_target *to, struct visit *c, const struct ticket *ticket,
                        uint64_t deadline_us, struct err *e)
{
	struct preamble p = { .wants = ticket ? PREAMBLE_ENTER : PREAMBLE_LOGIN,
		              .route = to->route };
	uint8_t out[PREAMBLE_BYTES], first;

	if (ticket)
		memcpy(p.ticket, ticket->id, sizeof(p.ticket));
	preamble_put(out, &p);
	int r = ticket ? gate_prove(ticket, c->challenge, out, e) : 0;

	if (r < 0)
		return r;
	/* an empty socket buffer takes it at once */
	if (send(c->fd, out, sizeof(out), MSG_NOSIGNAL) != sizeof(out))
		return visit_shut(to, c, strerror(errno), e);
	r = visit_hear(to, c, &first, 1, MSG_PEEK, deadline_us, e);
	if (r < 0 || first == 'S')
		return r;
	return visit_refused(to, c, deadline_us, e);
}

/* ---- SSH ---- */

static int set_options(ssh_session s, const struct chan_target *to)
{
	unsigned int port = to->port;
	bool no = false;

	return ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) ||
	       ssh_options_set(s, SSH_OPTIONS_HOST, to->host) ||
	       ssh_options_set(s, SSH_OPTIONS_PORT, &port) ||
	       ssh_options_set(s, SSH_OPTIONS_USER, TR_USER) ||
	       ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, known_path(to)) ||
	       ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, session_ciphers()) ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, session_ciphers()) || session_set(s);
}

static int exchange_keys(ssh_session s, const struct chan_target *to, struct visit *c,
                         uint64_t deadline_us, struct err *e)
{
	int r;

	ssh_set_blocking(s, 0);
	while ((r = ssh_connect(s)) == SSH_AGAIN)
		if (session_wait(s, c->fd, deadline_us) < 0)
			return visit_late(to, e);
	if (r == SSH_OK)
		return 0;
	c->shut = true;
	err_set(e, ERR_LINK, EPROTO, "%s port %u does not speak SSH with us: %s", to->host,
	        to->port, ssh_get_error(s));
	return err_fix(e, "check that hauld listens there");
}

static int check_host_key(ssh_session s, const struct chan_target *to, struct err *e)
{
	ssh_key key = NULL;

	if (ssh_get_server_publickey(s, &key) != SSH_OK)
		return err_set(e, ERR_LINK, EPROTO, "%s shows no host key", to->host);
	int r = known_check(to, key, e);

	ssh_key_free(key);
	return r;
}

/* A session on a copy of the call's socket, which libssh then owns; keys are exchanged. */
static int open_session(const struct chan_target *to, struct visit *c, ssh_session *out,
                        uint64_t deadline_us, struct err *e)
{
	int copy = session_fd(c->fd, e);

	if (copy < 0)
		return copy;
	ssh_session s = ssh_new();

	if (!s || set_options(s, to) || ssh_options_set(s, SSH_OPTIONS_FD, &copy)) {
		err_set(e, ERR_USER, EINVAL, "SSH does not accept host %s: %s", to->host,
		        s ? ssh_get_error(s) : "no memory");
		close(copy);
		ssh_free(s);
		return -e->code;
	}
	int r = exchange_keys(s, to, c, deadline_us, e);

	if (r < 0)
		ssh_free(s);
	else
		*out = s;
	return r;
}

/* ---- the channel ---- */

/* Refuse whatever the peer asks for. */
static int decline(ssh_session s, ssh_message m, void *arg)
{
	(void)s, (void)m, (void)arg;
	return 1;
}

static int open_channel(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us,
                        ssh_channel *out, struct err *e)
{
	ssh_channel ch = ssh_channel_new(s);
	int r = SSH_ERROR;

	ssh_set_message_callback(s, decline, NULL);
	while (ch && (r = ssh_channel_open_session(ch)) == SSH_AGAIN)
		if (session_wait(s, fd, deadline_us) < 0)
			return visit_late(to, e);
	while (r == SSH_OK && (r = ssh_channel_request_subsystem(ch, TR_SUBSYSTEM)) == SSH_AGAIN) {
		if (session_wait(s, fd, deadline_us) < 0)
			return visit_late(to, e);
		r = SSH_OK;
	}
	if (r != SSH_OK)
		return err_set(e, ERR_LINK, EPROTO, "cannot open a channel to %s: %s", to->host,
		               ssh_get_error(s));
	*out = ch;
	return 0;
}

/* A session whose keys are exchanged. @s: the caller's as soon as it is not NULL */
static int arrive(const struct chan_target *to, struct visit *c, const struct ticket *ticket,
                  uint64_t deadline_us, ssh_session *s, struct err *e)
{
	int r = visit_open(to, c, deadline_us, e);

	if (r < 0)
		return r;
	r = known_check(to, c->host_key, e);
	if (r < 0)
		return r;
	r = say_preamble(to, c, ticket, deadline_us, e);
	return r < 0 ? r : open_session(to, c, s, deadline_us, e);
}

static int log_in(ssh_session s, const struct chan_target *to, const struct visit *c, bool ticket,
                  uint64_t deadline_us, ssh_channel *ch, struct err *e)
{
	int r = ticket ? check_host_key(s, to, e) : 0;

	if (r < 0)
		return r;
	r = login_run(s, to, c->fd, deadline_us, e);
	return r < 0 ? r : open_channel(s, to, c->fd, deadline_us, ch, e);
}

/*
 * One connection that has become a channel. Who logs in for a @ticket speaks with a process that does not
 * have the host's key: that host is then known by its greeting only, which nothing proves, and gets no
 * more than our signature for this one session.
 */
static int enter(struct chan **out, const struct chan_target *to, struct visit *c,
                 const struct ticket *ticket, uint64_t deadline_us, struct err *e)
{
	ssh_session s = NULL;
	ssh_channel ch = NULL;
	char peer[128];
	int r = arrive(to, c, ticket, deadline_us, &s, e);

	if (r < 0)
		return r;
	r = log_in(s, to, c, ticket, deadline_us, &ch, e);
	if (r < 0) {
		c->shut = r == -ECONNRESET || r == -EPROTO;
		ssh_free(s); /* with its channels */
		return r;
	}
	snprintf(peer, sizeof(peer), "%.100s port %u", to->host, to->port);
	return chan_wrap(out, steal_fd(&c->fd), s, ch, NULL, peer, e);
}

/* ---- tickets ---- */

/* One for each host and key that this process has spoken with; the oldest is overwritten. */
static struct kept {
	char host[256], identity[256];
	unsigned int port;
	struct ticket ticket;
} kept[TICKETS_MAX];
static unsigned int n_kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static struct kept *find(const struct chan_target *to)
{
	for (unsigned int i = 0; i < TICKETS_MAX; i++)
		if (kept[i].port == to->port && !strcmp(kept[i].host, to->host) &&
		    !strcmp(kept[i].identity, to->identity ? to->identity : ""))
			return &kept[i];
	return NULL;
}

static bool have_ticket(const struct chan_target *to, struct ticket *out)
{
	pthread_mutex_lock(&kept_lock);
	const struct kept *k = find(to);

	if (k)
		*out = k->ticket;
	pthread_mutex_unlock(&kept_lock);
	return k;
}

/* @t: NULL: forget the one that we have */
static void keep_ticket(const struct chan_target *to, const struct ticket *t)
{
	pthread_mutex_lock(&kept_lock);
	struct kept *k = find(to);

	if (!k && t)
		k = &kept[n_kept++ % TICKETS_MAX];
	if (k)
		*k = (struct kept){ 0 };
	if (k && t) {
		k->port = to->port;
		k->ticket = *t;
		snprintf(k->host, sizeof(k->host), "%s", to->host);
		snprintf(k->identity, sizeof(k->identity), "%s", to->identity ? to->identity : "");
	}
	pthread_mutex_unlock(&kept_lock);
}

static int get_ticket(const struct chan_target *to, struct visit *c, struct ticket *out,
                      uint64_t deadline_us, struct err *e)
{
	struct chan *ch = NULL;
	int r = enter(&ch, to, c, NULL, deadline_us, e);

	visit_close(c);
	if (r < 0)
		return r;
	r = chan_read(ch, out, sizeof(*out), deadline_us, e);
	c->shut = r < 0 && r != -ETIMEDOUT;
	chan_cancel(ch); /* it has nothing more to say */
	chan_free(ch);
	if (r < 0)
		return r;
	keep_ticket(to, out);
	return 0;
}

/* One try. Return: as chan_connect(); *c says whether another one is worth it */
static int try_once(struct chan **out, const struct chan_target *to, struct visit *c,
                    uint64_t deadline_us, struct err *e)
{
	struct ticket t;

	if (!have_ticket(to, &t)) {
		int r = get_ticket(to, c, &t, deadline_us, e);

		if (r < 0)
			return r;
	}
	int r = enter(out, to, c, &t, deadline_us, e);

	visit_close(c);
	if (r == -ESTALE) {
		keep_ticket(to, NULL);
		c->shut = true;
	}
	return r;
}

int chan_connect(struct chan **out, const struct chan_target *to, struct err *e)
{
	uint64_t deadline = deadline_in_ms(to->connect_ms);

	if (to->dial) {
		int fd = to->dial(to->dial_arg, to->route, e);

		return fd < 0 ? fd : chan_plain(out, fd, to->host, e);
	}
	for (unsigned int n = 0;; n++) {
		struct visit c = { .fd = -1 };
		int r = try_once(out, to, &c, deadline, e);

		if (r == 0 || !visit_again(&c, n, deadline))
			return r;
		err_clear(e);
	}
}
