// SPDX-License-Identifier: GPL-2.0-or-later
/* login.c - how the connecting end proves who it is. */
#include "transport/priv.h"

#include <libssh/server.h>
#include <stdlib.h>
#include <string.h>

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
		return visit_late(to, e);
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

int login_run(ssh_session s, const struct chan_target *to, int fd, uint64_t deadline_us,
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
