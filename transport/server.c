// SPDX-License-Identifier: GPL-2.0-or-later
/* server.c - the accepting end: our host key, and whom we let in. */
#include "transport/priv.h"

#include <libssh/callbacks.h>
#include <libssh/server.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"

#define AUTH_TRIES_MAX 6
#define LINE_MAX_BYTES 8192

struct chan_server {
	ssh_key key;
	ssh_bind bind;
	char authorized[512];
};

/* One connection on its way to being a channel; lives as long as the session. */
struct guest {
	const struct chan_server *server;
	ssh_channel channel;
	bool authenticated, ready;
	unsigned int tries;
	char peer[160];
	struct ssh_server_callbacks_struct on_session;
	struct ssh_channel_callbacks_struct on_channel;
};

/* Written whole under another name, so that a crash leaves no half key. */
static int make_key(const char *path, struct err *e)
{
	char tmp[560];
	ssh_key key = NULL;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK)
		return err_set(e, ERR_SYS, EIO, "cannot make a host key");
	mode_t old = umask(077);
	int r = ssh_pki_export_privkey_file(key, NULL, NULL, NULL, tmp);

	umask(old);
	ssh_key_free(key);
	if (r != SSH_OK || chmod(tmp, 0600) < 0 || rename(tmp, path) < 0) {
		err_sys(e, "cannot write the host key %s", path);
		return err_fix(e, "make its folder, or name another with --host-key");
	}
	log_info("host key made: %s", path);
	return 0;
}

int chan_server_new(struct chan_server **out, const char *host_key_path,
                    const char *authorized_path, struct err *e)
{
	AUTO(chan_server) struct chan_server *s = calloc(1, sizeof(*s));
	bool no = false;

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	snprintf(s->authorized, sizeof(s->authorized), "%s", authorized_path);
	if (access(host_key_path, F_OK) < 0) {
		int r = make_key(host_key_path, e);

		if (r < 0)
			return r;
	}
	if (ssh_pki_import_privkey_file(host_key_path, NULL, NULL, NULL, &s->key) != SSH_OK)
		return err_set(e, ERR_USER, EINVAL, "host key %s cannot be read", host_key_path);
	s->bind = ssh_bind_new();
	if (!s->bind)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	ssh_bind_options_set(s->bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	if (ssh_bind_options_set(s->bind, SSH_BIND_OPTIONS_HOSTKEY, host_key_path) < 0 ||
	    ssh_bind_options_set(s->bind, SSH_BIND_OPTIONS_CIPHERS_C_S, TR_CIPHERS) < 0 ||
	    ssh_bind_options_set(s->bind, SSH_BIND_OPTIONS_CIPHERS_S_C, TR_CIPHERS) < 0)
		return err_set(e, ERR_USER, EINVAL, "host key %s: %s", host_key_path,
		               ssh_get_error(s->bind));
	*out = steal(s);
	return 0;
}

void chan_server_free(struct chan_server *s)
{
	if (!s)
		return;
	if (s->bind)
		ssh_bind_free(s->bind);
	ssh_key_free(s->key);
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

/* ---- authorised keys ---- */

/*
 * "type base64 comment". A line that begins with options is left out as a whole: a
 * restriction that we do not know must not be ignored.
 */
static bool line_matches(char *line, ssh_key key, char *comment, size_t bytes)
{
	char *save = NULL, *type = strtok_r(line, " \t\r\n", &save);
	char *b64 = type ? strtok_r(NULL, " \t\r\n", &save) : NULL;
	char *rest = b64 ? strtok_r(NULL, "\r\n", &save) : NULL;
	enum ssh_keytypes_e kind = b64 && *type != '#' ? ssh_key_type_from_name(type)
	                                               : SSH_KEYTYPE_UNKNOWN;
	ssh_key listed = NULL;

	if (kind == SSH_KEYTYPE_UNKNOWN ||
	    ssh_pki_import_pubkey_base64(b64, kind, &listed) != SSH_OK)
		return false;
	bool same = ssh_key_cmp(listed, key, SSH_KEY_CMP_PUBLIC) == 0;

	ssh_key_free(listed);
	if (same)
		snprintf(comment, bytes, "%s", rest ? rest : "");
	return same;
}

static bool authorized(const struct chan_server *s, ssh_key key, char *comment, size_t bytes)
{
	AUTO(file) FILE *f = fopen(s->authorized, "re");
	char line[LINE_MAX_BYTES];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = line_matches(line, key, comment, bytes);
	return found;
}

static int on_pubkey(ssh_session session, const char *user, struct ssh_key_struct *key, char state,
                     void *arg)
{
	struct guest *g = arg;
	char comment[64] = "", print[80] = "?";

	(void)session;
	(void)user;
	if (++g->tries > AUTH_TRIES_MAX)
		return SSH_AUTH_DENIED;
	key_print(key, print, sizeof(print));
	bool ok = authorized(g->server, key, comment, sizeof(comment));

	if (!ok) {
		log_warn("key %s is not authorised", print);
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
	g->ready = g->authenticated && !strcmp(name, TR_SUBSYSTEM);
	return g->ready ? 0 : 1;
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
	ssh_set_auth_methods(s, SSH_AUTH_METHOD_PUBLICKEY);
}

static int exchange_keys(ssh_session s, int fd, uint64_t deadline_us, struct err *e)
{
	ssh_set_blocking(s, 0);
	for (;;) {
		int r = ssh_handle_key_exchange(s);

		if (r == SSH_OK)
			return 0;
		if (r != SSH_AGAIN)
			return err_set(e, ERR_LINK, EPROTO, "key exchange: %s", ssh_get_error(s));
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int ms = deadline_poll_ms(deadline_us);

		if (ms == 0)
			return err_set(e, ERR_LINK, ETIMEDOUT, "a client said nothing");
		poll(&p, 1, ms < 100 ? ms : 100);
	}
}

static int welcome(ssh_session s, struct guest *g, uint64_t deadline_us, struct err *e)
{
	ssh_event ev = ssh_event_new();
	int r = 0;

	if (!ev || ssh_event_add_session(ev, s) != SSH_OK)
		r = err_set(e, ERR_SYS, ENOMEM, "no memory");
	while (r == 0 && !g->ready) {
		int ms = deadline_poll_ms(deadline_us);

		if (ms == 0)
			r = err_set(e, ERR_LINK, ETIMEDOUT, "a client did not log in in time");
		else if (ssh_event_dopoll(ev, ms < 100 ? ms : 100) == SSH_ERROR ||
		         !ssh_is_connected(s))
			r = err_set(e, ERR_LINK, EACCES, "a client did not log in");
		else if (g->tries > AUTH_TRIES_MAX)
			r = err_set(e, ERR_LINK, EACCES, "a client tried too many keys");
	}
	if (ev) {
		ssh_event_remove_session(ev, s);
		ssh_event_free(ev);
	}
	return r;
}

int chan_accept(struct chan **out, int fd, const struct chan_server *srv, unsigned int limit_ms,
                struct err *e)
{
	uint64_t deadline = deadline_in_ms(limit_ms);
	ssh_session s = ssh_new();
	AUTO(mem) struct guest *g = calloc(1, sizeof(*g));

	if (!s || !g || ssh_bind_accept_fd(srv->bind, s, fd) != SSH_OK) {
		close(fd);
		ssh_free(s);
		return err_set(e, ERR_LINK, EPROTO, "cannot take a connection");
	}
	g->server = srv;
	set_callbacks(s, g);
	int r = exchange_keys(s, fd, deadline, e);

	if (r == 0)
		r = welcome(s, g, deadline, e);
	if (r == 0)
		r = chan_wrap(out, s, g->channel, g->peer, e);
	else {
		ssh_disconnect(s);
		ssh_free(s);
	}
	if (r == 0)
		(*out)->owner = steal(g);
	return r;
}
