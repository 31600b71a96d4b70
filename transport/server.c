// SPDX-License-Identifier: GPL-2.0-or-later
/* server.c - the accepting end: whom we let in, and to nothing but one channel. */
#include "transport/priv.h"

#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"

#define AUTH_TRIES_MAX 6
#define DENIED_LINES   20 /* a minute */

struct chan_server {
	ssh_key key;
	char *authorized; /* NULL: ask() decides */
	bool (*ask)(void *arg, const char *print);
	void *ask_arg;
	struct door {
		pthread_mutex_t lock; /* ssh_bind is not thread-safe */
		ssh_bind bind;
	} * door;
};

/* One connection on its way to being a channel; libssh points to it until its end. */
struct guest {
	const struct chan_server *server;
	ssh_channel channel;
	bool authenticated, ready;
	unsigned int tries;
	char peer[160];
	struct ssh_server_callbacks_struct on_session;
	struct ssh_channel_callbacks_struct on_channel;
};

/* ---- once per daemon ---- */

/* @key: taken in every case */
static int open_door(struct chan_server *s, ssh_key key, struct err *e)
{
	bool no = false;

	s->key = ssh_key_dup(key);
	s->door = calloc(1, sizeof(*s->door));
	ssh_bind bind = s->door ? ssh_bind_new() : NULL;

	if (!bind || !s->key) {
		ssh_key_free(key);
		ssh_bind_free(bind);
		free(steal(s->door));
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	}
	pthread_mutex_init(&s->door->lock, NULL);
	s->door->bind = bind;
	if (ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, key) < 0) { /* takes it */
		ssh_key_free(key);
		return err_set(e, ERR_USER, EINVAL, "host key: %s", ssh_get_error(bind));
	}
	if (ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) < 0 ||
	    ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_C_S, session_ciphers()) < 0 ||
	    ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_S_C, session_ciphers()) < 0)
		return err_set(e, ERR_BUG, EINVAL, "SSH options: %s", ssh_get_error(bind));
	return 0;
}

int chan_server_new(struct chan_server **out, const char *host_key_path,
                    const char *authorized_path, struct err *e)
{
	AUTO(chan_server) struct chan_server *s = calloc(1, sizeof(*s));
	ssh_key key = NULL;

	if (!s || !(s->authorized = strdup(authorized_path)))
		return err_set(e, ERR_SYS, ENOMEM, "no memory");

	if (key_load_host(&key, host_key_path, e) < 0 || open_door(s, key, e) < 0)
		return err_code(e);
	*out = steal(s);
	return 0;
}

int chan_server_new_asking(struct chan_server **out, bool (*ask)(void *arg, const char *print),
                           void *arg, struct err *e)
{
	AUTO(chan_server) struct chan_server *s = calloc(1, sizeof(*s));
	ssh_key key = NULL;

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->ask = ask;
	s->ask_arg = arg;
	if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK)
		return err_set(e, ERR_SYS, EIO, "cannot make a host key");
	int r = open_door(s, key, e);

	if (r < 0)
		return r;
	*out = steal(s);
	return 0;
}

void chan_server_free(struct chan_server *s)
{
	if (!s)
		return;
	if (s->door) {
		ssh_bind_free(s->door->bind);
		pthread_mutex_destroy(&s->door->lock);
		free(s->door);
	}
	ssh_key_free(s->key);
	free(s->authorized);
	free(s);
}

int chan_server_fingerprint(const struct chan_server *s, char *out, size_t bytes, struct err *e)
{
	ssh_key public = NULL;
	int r = ssh_pki_export_privkey_to_pubkey(s->key, &public);

	if (r == SSH_OK)
		r = key_print(public, out, bytes);
	ssh_key_free(public);
	return r == 0 ? 0 : err_set(e, ERR_SYS, EINVAL, "host key without a fingerprint");
}

int chan_server_key_text(const struct chan_server *s, char *out, size_t bytes, struct err *e)
{
	ssh_key public = NULL;
	char *b64 = NULL;
	int n = 0;

	if (ssh_pki_export_privkey_to_pubkey(s->key, &public) == SSH_OK &&
	    ssh_pki_export_pubkey_base64(public, &b64) == SSH_OK)
		n = snprintf(out, bytes, "%s %s", ssh_key_type_to_char(ssh_key_type(public)), b64);
	ssh_string_free_char(b64);
	ssh_key_free(public);
	if (n > 0 && (size_t)n < bytes)
		return 0;
	return err_set(e, ERR_USER, EINVAL, "the host key cannot be shown to a peer");
}

bool server_allows(const struct chan_server *s, key_is is, const void *arg)
{
	char comment[64];

	return s->authorized && key_authorized(s->authorized, is, arg, comment, sizeof(comment));
}

/* ---- what a guest may do: show a key, open one channel, ask for our subsystem ---- */

static bool allowed(struct guest *g, const char *print, char *comment, size_t bytes)
{
	const struct chan_server *s = g->server;

	return s->ask ? s->ask(s->ask_arg, print)
	              : key_authorized(s->authorized, key_has_print, print, comment, bytes);
}

/* Some in each minute: who has no key must not fill the log. */
static bool may_log(void)
{
	static uint64_t minute, lines;
	uint64_t now = now_us() / 60000000;

	if (__atomic_exchange_n(&minute, now, __ATOMIC_RELAXED) != now)
		__atomic_store_n(&lines, 0, __ATOMIC_RELAXED);
	return __atomic_add_fetch(&lines, 1, __ATOMIC_RELAXED) <= DENIED_LINES;
}

static int on_pubkey(ssh_session session, const char *user, struct ssh_key_struct *key, char state,
                     void *arg)
{
	struct guest *g = arg;
	char comment[64] = "", print[KEY_PRINT_BYTES] = "?";

	(void)session;
	(void)user;
	if (++g->tries > AUTH_TRIES_MAX)
		return SSH_AUTH_DENIED;
	if (key_print(key, print, sizeof(print)) < 0 ||
	    !allowed(g, print, comment, sizeof(comment))) {
		if (may_log())
			log_warn("key %s is not authorized", print);
		return SSH_AUTH_DENIED;
	}
	if (state == SSH_PUBLICKEY_STATE_NONE)
		return SSH_AUTH_SUCCESS; /* a question: would this key do? */
	if (state != SSH_PUBLICKEY_STATE_VALID)
		return SSH_AUTH_DENIED;
	g->authenticated = true;
	snprintf(g->peer, sizeof(g->peer), "%s %s", print, comment);
	return SSH_AUTH_SUCCESS;
}

static int on_subsystem(ssh_session session, ssh_channel channel, const char *name, void *arg)
{
	struct guest *g = arg;

	(void)session;
	(void)channel;
	if (!g->authenticated || g->ready || strcmp(name, TR_SUBSYSTEM))
		return 1;
	g->ready = true;
	return 0;
}

static ssh_channel on_open(ssh_session session, void *arg)
{
	struct guest *g = arg;

	if (!g->authenticated || g->channel)
		return NULL;
	g->channel = ssh_channel_new(session);
	if (g->channel)
		ssh_set_channel_callbacks(g->channel, &g->on_channel);
	return g->channel;
}

static int on_anything(ssh_session session, ssh_message message, void *arg)
{
	(void)session, (void)message, (void)arg;
	return 1; /* libssh refuses it for us */
}

static void set_callbacks(ssh_session s, struct guest *g)
{
	g->on_session.userdata = g;
	g->on_session.auth_pubkey_function = on_pubkey;
	g->on_session.channel_open_request_session_function = on_open;
	ssh_callbacks_init(&g->on_session);
	g->on_channel.userdata = g;
	g->on_channel.channel_subsystem_request_function = on_subsystem;
	ssh_callbacks_init(&g->on_channel);
	ssh_set_server_callbacks(s, &g->on_session);
	ssh_set_message_callback(s, on_anything, NULL);
	ssh_set_auth_methods(s, SSH_AUTH_METHOD_PUBLICKEY);
}

/* ---- once per connection ---- */

static int late(struct err *e)
{
	return err_set(e, ERR_LINK, ETIMEDOUT, "a client did not log in in time");
}

static int exchange_keys(ssh_session s, int fd, uint64_t deadline_us, struct err *e)
{
	int r;

	ssh_set_blocking(s, 0);
	while ((r = ssh_handle_key_exchange(s)) == SSH_AGAIN)
		if (session_wait(s, fd, deadline_us) < 0)
			return late(e);
	return r == SSH_OK ? 0
	                   : err_set(e, ERR_LINK, EPROTO, "SSH with a client failed: %s",
	                             ssh_get_error(s));
}

static int welcome(ssh_session s, const struct guest *g, ssh_event ev, int fd, uint64_t deadline_us,
                   struct err *e)
{
	while (!g->ready) {
		int r = ssh_event_dopoll(ev, 0);

		if (g->tries > AUTH_TRIES_MAX)
			return err_set(e, ERR_LINK, EACCES, "a client tried too many keys");
		if (r == SSH_ERROR || !ssh_is_connected(s))
			return err_set(e, ERR_LINK, EACCES, "a client left without logging in");
		if (r == SSH_AGAIN && session_wait(s, fd, deadline_us) < 0)
			return late(e);
		if (r != SSH_AGAIN && deadline_poll_ms(deadline_us) == 0)
			return late(e);
	}
	return 0;
}

static int let_in(ssh_session s, struct guest *g, int fd, uint64_t deadline_us, struct err *e)
{
	set_callbacks(s, g);
	int r = exchange_keys(s, fd, deadline_us, e);

	if (r < 0)
		return r;
	ssh_event ev = ssh_event_new();

	if (!ev || ssh_event_add_session(ev, s) != SSH_OK)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory");
	else
		r = welcome(s, g, ev, fd, deadline_us, e);
	if (ev) {
		ssh_event_remove_session(ev, s);
		ssh_event_free(ev);
	}
	return r;
}

/* A session on a copy of @fd, which libssh then owns. */
static int take_socket(ssh_session s, const struct chan_server *srv, int fd, struct err *e)
{
	int copy = session_fd(fd, e);

	if (copy < 0)
		return copy;
	pthread_mutex_lock(&srv->door->lock);
	int r = session_set(s) == 0 ? ssh_bind_accept_fd(srv->door->bind, s, copy) : SSH_ERROR;

	pthread_mutex_unlock(&srv->door->lock);
	if (r == SSH_OK)
		return 0;
	if (ssh_get_fd(s) != copy)
		close(copy);
	return err_set(e, ERR_LINK, EPROTO, "cannot accept a connection: %s",
	               ssh_get_error(srv->door->bind));
}

void chan_refuse(int fd, enum preamble_reason why)
{
	uint8_t no[PREAMBLE_HEAD_BYTES], said[4 * PREAMBLE_BYTES];

	preamble_refuse(no, why);
	while (recv(fd, said, sizeof(said), MSG_DONTWAIT) == sizeof(said))
		;
	send(fd, no, sizeof(no), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

int chan_accept(struct chan **out, int fd, const struct chan_server *srv, unsigned int limit_ms,
                struct err *e)
{
	if (!srv)
		return chan_plain(out, fd, "haul load", e);
	uint64_t deadline = deadline_in_ms(limit_ms);
	AUTO(fd) int own = fd;
	AUTO(mem) struct guest *g = calloc(1, sizeof(*g));
	ssh_session s = g ? ssh_new() : NULL;

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	tcp_tune(own);
	g->server = srv;
	if (take_socket(s, srv, own, e) < 0 || let_in(s, g, own, deadline, e) < 0) {
		ssh_free(s);
		return err_code(e);
	}
	struct guest *owner = steal(g);

	return chan_wrap(out, steal_fd(&own), s, owner->channel, owner, owner->peer, e);
}
