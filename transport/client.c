// SPDX-License-Identifier: GPL-2.0-or-later
/* client.c - the connecting end: whom we trust, and how we prove who we are. */
#include "transport/priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"

#define CONF_DIR "/etc/haul"

static const char *known_hosts(const struct chan_target *to)
{
	return to->known_hosts ? to->known_hosts : CONF_DIR "/known_hosts";
}

int key_print(ssh_key key, char *out, size_t bytes)
{
	unsigned char *hash = NULL;
	size_t n = 0;

	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) < 0)
		return -EINVAL;
	char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);

	snprintf(out, bytes, "%s", text ? text : "?");
	ssh_string_free_char(text);
	ssh_clean_pubkey_hash(&hash);
	return 0;
}

static int set_options(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us)
{
	unsigned int port = to->port;
	long limit_s = deadline_poll_ms(deadline_us) / 1000 + 1;
	bool no = false;

	ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
	return ssh_options_set(s, SSH_OPTIONS_HOST, to->host) ||
	       ssh_options_set(s, SSH_OPTIONS_PORT, &port) ||
	       ssh_options_set(s, SSH_OPTIONS_FD, &fd) ||
	       ssh_options_set(s, SSH_OPTIONS_USER, "haul") ||
	       ssh_options_set(s, SSH_OPTIONS_TIMEOUT, &limit_s) ||
	       ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, known_hosts(to)) ||
	       ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, TR_CIPHERS) ||
	       ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, TR_CIPHERS);
}

int client_session(const struct chan_target *to, ssh_session *out, uint64_t deadline_us,
                   struct err *e)
{
	int fd = tcp_connect(to, deadline_us, e);

	if (fd < 0)
		return fd;
	ssh_session s = ssh_new();

	if (!s || set_options(s, to, fd, deadline_us)) {
		close(fd);
		ssh_free(s);
		return err_set(e, ERR_BUG, EINVAL, "SSH options");
	}
	if (ssh_connect(s) != SSH_OK) {
		err_set(e, ERR_LINK, EPROTO, "%s port %u does not speak SSH with us: %s", to->host,
		        to->port, ssh_get_error(s));
		err_fix(e, "is it hauld that listens there? is it overloaded?");
		ssh_disconnect(s);
		ssh_free(s);
		return -e->code;
	}
	*out = s;
	return 0;
}

static int check_host_key(ssh_session s, const struct chan_target *to, struct err *e)
{
	char print[128] = "?";
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
		err_set(e, ERR_LINK, EKEYREJECTED,
		        "THE HOST KEY OF %s HAS CHANGED (now %s): somebody may be in between",
		        to->host, print);
		return err_fix(e,
		               "if the host was set up anew, remove its line from %s and run "
		               "haul trust %s",
		               known_hosts(to), to->host);
	case SSH_KNOWN_HOSTS_NOT_FOUND:
	case SSH_KNOWN_HOSTS_UNKNOWN:
		err_set(e, ERR_LINK, EKEYREJECTED, "the host key of %s (%s) is not known here",
		        to->host, print);
		return err_fix(e, "compare it with hauld --fingerprint there, then: haul trust %s",
		               to->host);
	default:
		return err_set(e, ERR_LINK, EKEYREJECTED, "known hosts in %s: %s", known_hosts(to),
		               ssh_get_error(s));
	}
}

/* Return: 0 authenticated; 1 not with this key; -errno with a message */
static int try_key(ssh_session s, const char *path, bool must, char *print, size_t bytes,
                   struct err *e)
{
	ssh_key key = NULL;

	if (access(path, R_OK) < 0)
		return must ? err_sys(e, "key %s", path) : 1;
	if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK) {
		if (!must)
			return 1;
		err_set(e, ERR_USER, EINVAL, "key %s cannot be read: encrypted, or no private key",
		        path);
		return err_fix(e, "give a key without passphrase with --identity");
	}
	key_print(key, print, bytes);
	int r = ssh_userauth_publickey(s, NULL, key);

	ssh_key_free(key);
	return r == SSH_AUTH_SUCCESS ? 0 : 1;
}

static int authenticate(ssh_session s, const struct chan_target *to, struct err *e)
{
	static const char *const names[] = { CONF_DIR "/id_ed25519", "~/.ssh/id_ed25519",
		                             "~/.ssh/id_ecdsa", "~/.ssh/id_rsa" };
	const char *home = getenv("HOME");
	char path[512], print[128] = "none found";
	int r = 1;

	if (to->identity)
		r = try_key(s, to->identity, true, print, sizeof(print), e);
	for (size_t i = 0; !to->identity && r == 1 && i < ARRAY_SIZE(names); i++) {
		if (names[i][0] == '~')
			snprintf(path, sizeof(path), "%s%s", home ? home : "/root", names[i] + 1);
		else
			snprintf(path, sizeof(path), "%s", names[i]);
		r = try_key(s, path, false, print, sizeof(print), e);
	}
	if (r <= 0)
		return r;
	err_set(e, ERR_LINK, EACCES, "%s does not accept our key (%s)", to->host, print);
	return err_fix(e, "add the public key to /etc/haul/authorized_keys on %s", to->host);
}

int chan_connect(struct chan **out, const struct chan_target *to, struct err *e)
{
	uint64_t deadline = deadline_in_ms(to->connect_ms);
	ssh_session s = NULL;
	char peer[128];
	int r = client_session(to, &s, deadline, e);

	if (r < 0)
		return r;
	r = check_host_key(s, to, e);
	if (r == 0)
		r = authenticate(s, to, e);
	ssh_channel ch = r == 0 ? ssh_channel_new(s) : NULL;

	if (r == 0 && (!ch || ssh_channel_open_session(ch) != SSH_OK ||
	               ssh_channel_request_subsystem(ch, TR_SUBSYSTEM) != SSH_OK))
		r = err_set(e, ERR_LINK, EPROTO, "%s opens no channel: %s", to->host,
		            ssh_get_error(s));
	if (r < 0) {
		if (ch)
			ssh_channel_free(ch);
		ssh_disconnect(s);
		ssh_free(s);
		return r;
	}
	snprintf(peer, sizeof(peer), "%.100s port %u", to->host, to->port);
	return chan_wrap(out, s, ch, peer, e);
}

/* ---- trust ---- */

static int fetch(const struct chan_target *to, ssh_session *s, char *print, size_t bytes,
                 struct err *e)
{
	ssh_key key = NULL;
	int r = client_session(to, s, deadline_in_ms(to->connect_ms), e);

	if (r < 0)
		return r;
	if (ssh_get_server_publickey(*s, &key) != SSH_OK)
		return err_set(e, ERR_LINK, EPROTO, "%s shows no host key", to->host);
	key_print(key, print, bytes);
	ssh_key_free(key);
	return 0;
}

static void hang_up(ssh_session s)
{
	if (!s)
		return;
	ssh_disconnect(s);
	ssh_free(s);
}

int trust_fetch(const struct chan_target *to, char *fingerprint, size_t bytes, int *known,
                struct err *e)
{
	ssh_session s = NULL;
	int r = fetch(to, &s, fingerprint, bytes, e);

	if (r == 0) {
		enum ssh_known_hosts_e k = ssh_session_is_known_server(s);

		*known = k == SSH_KNOWN_HOSTS_OK                                      ? 1
		         : k == SSH_KNOWN_HOSTS_CHANGED || k == SSH_KNOWN_HOSTS_OTHER ? 2
		                                                                      : 0;
	}
	hang_up(s);
	return r;
}

int trust_store(const struct chan_target *to, const char *fingerprint, struct err *e)
{
	ssh_session s = NULL;
	char print[128];
	int r = fetch(to, &s, print, sizeof(print), e);

	if (r == 0 && strcmp(print, fingerprint))
		r = err_set(e, ERR_LINK, EKEYREJECTED, "%s shows another key than before",
		            to->host);
	if (r == 0) {
		mkdir(CONF_DIR, 0755);
		enum ssh_known_hosts_e k = ssh_session_is_known_server(s);

		if (k == SSH_KNOWN_HOSTS_CHANGED || k == SSH_KNOWN_HOSTS_OTHER) {
			r = err_set(e, ERR_USER, EEXIST, "%s is known with another key", to->host);
			err_fix(e, "remove its line from %s first, if you are sure",
			        known_hosts(to));
		} else if (k != SSH_KNOWN_HOSTS_OK && ssh_session_update_known_hosts(s) != SSH_OK) {
			r = err_set(e, ERR_SYS, EIO, "cannot write %s: %s", known_hosts(to),
			            ssh_get_error(s));
		}
	}
	hang_up(s);
	return r;
}
