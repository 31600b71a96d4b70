// SPDX-License-Identifier: GPL-2.0-or-later
/* client.c - the connecting end: whom we trust, and how we prove who we are. */
#include "transport/priv.h"

#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define AGAIN_MIN_MS 100u
#define AGAIN_MAX_MS 800u

const char *client_known_hosts(const struct chan_target *to)
{
	return to->known_hosts ? to->known_hosts : TR_CONF_DIR "/known_hosts";
}

/* ---- key exchange ---- */

static int set_options(ssh_session s, const struct chan_target *to)
{
	unsigned int port = to->port;
	bool no = false;

	return ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) ||
	       ssh_options_set(s, SSH_OPTIONS_HOST, to->host) ||
	       ssh_options_set(s, SSH_OPTIONS_PORT, &port) ||
	       ssh_options_set(s, SSH_OPTIONS_USER, TR_USER) ||
	       ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, client_known_hosts(to)) ||
	       ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, session_ciphers()) ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, session_ciphers()) || session_set(s);
}

static int late(const struct chan_target *to, struct err *e)
{
	err_set(e, ERR_LINK, ETIMEDOUT, "%s port %u: no answer in %u ms", to->host, to->port,
	        to->connect_ms);
	return err_fix(e, "check that hauld listens there and that the host is not overloaded");
}

static int exchange_keys(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us,
                         struct err *e)
{
	int r;

	ssh_set_blocking(s, 0);
	while ((r = ssh_connect(s)) == SSH_AGAIN)
		if (session_wait(s, fd, deadline_us) < 0)
			return late(to, e);
	if (r == SSH_OK)
		return 0;
	err_set(e, ERR_LINK, EPROTO, "%s port %u does not speak SSH with us: %s", to->host,
	        to->port, ssh_get_error(s));
	return err_fix(e, "check that hauld listens there");
}

/* *shut: the host has closed the connection before it said anything */
static int one_session(const struct chan_target *to, ssh_session *out, int *fd, bool *shut,
                       uint64_t deadline_us, struct err *e)
{
	int r = tcp_connect(to, deadline_us, e);

	if (r < 0)
		return r;
	*fd = r;
	int copy = session_fd(*fd, e);

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
	r = exchange_keys(s, to, *fd, deadline_us, e);
	if (r < 0) {
		*shut = r == -EPROTO && !ssh_get_serverbanner(s);
		ssh_free(s);
		return r;
	}
	*out = s;
	return 0;
}

/* A host with too many peers that have no key closes new connections; a moment later it may have room. */
int client_session(const struct chan_target *to, ssh_session *out, int *fd, uint64_t deadline_us,
                   struct err *e)
{
	for (unsigned int ms = AGAIN_MIN_MS;; ms *= 2) {
		bool shut = false;
		int r = one_session(to, out, fd, &shut, deadline_us, e);

		if (!shut || ms > AGAIN_MAX_MS || now_us() + ms * 1000 > deadline_us)
			return r;
		close(*fd);
		*fd = -1;
		err_clear(e);
		usleep(ms * 1000);
	}
}

/* ---- whom we trust ---- */

/* How to call haul for this target. */
static const char *port_option(const struct chan_target *to, char *out, size_t bytes)
{
	out[0] = '\0';
	if (to->port != TR_PORT_DEFAULT)
		snprintf(out, bytes, "--port %u ", to->port);
	return out;
}

static int key_changed(const struct chan_target *to, const char *print, struct err *e)
{
	char port[24];

	err_set(e, ERR_LINK, EKEYREJECTED,
	        "THE HOST KEY OF %s HAS CHANGED (now %s): the host was set up again, or "
	        "someone intercepts the connection; nothing was sent",
	        to->host, print);
	return err_fix(
	        e,
	        "compare it with `hauld --fingerprint` there; if it is right, remove the old "
	        "line from %s, then: haul trust %s%s",
	        client_known_hosts(to), port_option(to, port, sizeof(port)), to->host);
}

static int check_host_key(ssh_session s, const struct chan_target *to, struct err *e)
{
	char print[128] = "?", port[24];
	ssh_key key = NULL;

	if (ssh_get_server_publickey(s, &key) == SSH_OK) {
		key_print(key, print, sizeof(print));
		ssh_key_free(key);
	}
	switch (ssh_session_is_known_server(s)) {
	case SSH_KNOWN_HOSTS_OK:
		return 0;
	case SSH_KNOWN_HOSTS_CHANGED:
	case SSH_KNOWN_HOSTS_OTHER:
		return key_changed(to, print, e);
	case SSH_KNOWN_HOSTS_NOT_FOUND:
	case SSH_KNOWN_HOSTS_UNKNOWN:
		err_set(e, ERR_LINK, EKEYREJECTED, "the host key of %s (%s) is not known here",
		        to->host, print);
		return err_fix(e,
		               "haul trust %s%s (compare the key with `hauld --fingerprint` there)",
		               port_option(to, port, sizeof(port)), to->host);
	default:
		return err_set(e, ERR_LINK, EKEYREJECTED, "known hosts in %s: %s",
		               client_known_hosts(to), ssh_get_error(s));
	}
}

/* ---- who we are ---- */

/* The keys that were tried, for the message when none is accepted. */
struct tried {
	char print[128]; /* of the last key that the host refused */
	char locked[256]; /* a key file with a passphrase */
};

/* libssh, or OpenSSL under it, would ask at the terminal. */
static int no_passphrase(const char *prompt, char *buf, size_t len, int echo, int verify, void *arg)
{
	(void)prompt, (void)buf, (void)len, (void)echo, (void)verify;
	*(bool *)arg = true;
	return -1;
}

/* Return: 1 and *out; 0 the key cannot be used; -errno only when @must */
static int load_key(const char *path, bool must, ssh_key *out, struct tried *t, struct err *e)
{
	bool locked = false;

	if (access(path, R_OK) < 0)
		return must ? err_sys(e, "key %s", path) : 0;
	if (ssh_pki_import_privkey_file(path, NULL, no_passphrase, &locked, out) == SSH_OK)
		return 1;
	if (locked)
		snprintf(t->locked, sizeof(t->locked), "%s", path);
	if (!must)
		return 0;
	if (!locked)
		return err_set(e, ERR_USER, EINVAL, "key %s is not a private key that SSH can read",
		               path);
	err_set(e, ERR_USER, EINVAL, "key %s has a passphrase, which haul cannot ask for", path);
	return err_fix(e, "make a key without one: ssh-keygen -t ed25519 -N '' -f FILE, then "
	                  "--identity FILE");
}

/* Return: 1 authenticated; 0 not with this key; -errno */
static int try_key(ssh_session s, const struct chan_target *to, const char *path, int fd,
                   uint64_t deadline_us, struct tried *t, struct err *e)
{
	ssh_key key = NULL;
	int r = load_key(path, to->identity, &key, t, e);

	if (r <= 0)
		return r;
	key_print(key, t->print, sizeof(t->print));
	while ((r = ssh_userauth_publickey(s, NULL, key)) == SSH_AUTH_AGAIN) {
		if (session_wait(s, fd, deadline_us) == 0)
			continue;
		ssh_key_free(key);
		return late(to, e);
	}
	ssh_key_free(key);
	if (r == SSH_AUTH_ERROR)
		return err_set(e, ERR_LINK, ECONNRESET, "%s ended the connection: %s", to->host,
		               ssh_get_error(s));
	return r == SSH_AUTH_SUCCESS;
}

static int refused(const struct chan_target *to, const struct tried *t, struct err *e)
{
	if (t->print[0]) {
		err_set(e, ERR_LINK, EACCES, "%s does not accept our key (%s)", to->host, t->print);
		return err_fix(e, "add the public key to " TR_CONF_DIR "/authorized_keys on %s",
		               to->host);
	}
	if (t->locked[0])
		err_set(e, ERR_USER, EACCES, "the only key here, %s, has a passphrase", t->locked);
	else
		err_set(e, ERR_USER, EACCES, "no key to present to %s", to->host);
	return err_fix(e, "ssh-keygen -t ed25519 -N '' -f " TR_CONF_DIR "/id_ed25519, then add the "
	                  ".pub to " TR_CONF_DIR "/authorized_keys on the other host");
}

static int authenticate(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us,
                        struct err *e)
{
	static const char *const names[] = { "id_ed25519", "id_ecdsa", "id_rsa" };
	const char *home = getenv("HOME");
	struct tried t = { 0 };
	char path[512];
	int r;

	if (to->identity) {
		r = try_key(s, to, to->identity, fd, deadline_us, &t, e);
		return r < 0 ? r : r ? 0 : refused(to, &t, e);
	}
	r = try_key(s, to, TR_CONF_DIR "/id_ed25519", fd, deadline_us, &t, e);
	for (size_t i = 0; r == 0 && home && i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/.ssh/%s", home, names[i]);
		r = try_key(s, to, path, fd, deadline_us, &t, e);
	}
	return r < 0 ? r : r ? 0 : refused(to, &t, e);
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
			return late(to, e);
	while (r == SSH_OK && (r = ssh_channel_request_subsystem(ch, TR_SUBSYSTEM)) == SSH_AGAIN) {
		if (session_wait(s, fd, deadline_us) < 0)
			return late(to, e);
		r = SSH_OK;
	}
	if (r != SSH_OK)
		return err_set(e, ERR_LINK, EPROTO, "cannot open a channel to %s: %s", to->host,
		               ssh_get_error(s));
	*out = ch;
	return 0;
}

int chan_connect(struct chan **out, const struct chan_target *to, struct err *e)
{
	uint64_t deadline = deadline_in_ms(to->connect_ms);
	AUTO(fd) int fd = -1;
	ssh_session s = NULL;
	ssh_channel ch = NULL;
	char peer[128];
	int r = client_session(to, &s, &fd, deadline, e);

	if (r < 0)
		return r;
	r = check_host_key(s, to, e);
	if (r == 0)
		r = authenticate(s, to, fd, deadline, e);
	if (r == 0)
		r = open_channel(s, to, fd, deadline, &ch, e);
	if (r < 0) {
		ssh_free(s); /* with its channels */
		return r;
	}
	snprintf(peer, sizeof(peer), "%.100s port %u", to->host, to->port);
	return chan_wrap(out, steal_fd(&fd), s, ch, NULL, peer, e);
}
