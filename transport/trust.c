// SPDX-License-Identifier: GPL-2.0-or-later
/* trust.c - haul trust HOST: see a host's key, and remember it once a human said yes. */
#include "transport/priv.h"

#include <string.h>

#include "common/clock.h"

enum { UNKNOWN = 0, KNOWN = 1, DIFFERENT = 2 };

static int known_as(ssh_session s)
{
	switch (ssh_session_is_known_server(s)) {
	case SSH_KNOWN_HOSTS_OK:
		return KNOWN;
	case SSH_KNOWN_HOSTS_CHANGED:
	case SSH_KNOWN_HOSTS_OTHER:
		return DIFFERENT;
	default:
		return UNKNOWN;
	}
}

/* The session stays open until the caller is done with it. */
static int fetch(const struct chan_target *to, ssh_session *s, int *fd, char *print, size_t bytes,
                 struct err *e)
{
	ssh_key key = NULL;
	int r = client_session(to, s, fd, deadline_in_ms(to->connect_ms), e);

	if (r < 0)
		return r;
	if (ssh_get_server_publickey(*s, &key) != SSH_OK)
		return err_set(e, ERR_LINK, EPROTO, "%s shows no host key", to->host);
	r = key_print(key, print, bytes);
	ssh_key_free(key);
	return r < 0 ? err_set(e, ERR_SYS, -r, "key of %s: no fingerprint", to->host) : 0;
}

int trust_fetch(const struct chan_target *to, char *fingerprint, size_t bytes, int *known,
                struct err *e)
{
	AUTO(fd) int fd = -1;
	ssh_session s = NULL;
	int r = fetch(to, &s, &fd, fingerprint, bytes, e);

	if (r == 0)
		*known = known_as(s);
	ssh_free(s);
	return r;
}

static int store(ssh_session s, const struct chan_target *to, struct err *e)
{
	const char *path = client_known_hosts(to);

	switch (known_as(s)) {
	case KNOWN:
		return 0;
	case DIFFERENT:
		err_set(e, ERR_USER, EEXIST, "%s is known with another key", to->host);
		return err_fix(e, "if you are sure, remove its line from %s first", path);
	default:
		break;
	}
	key_make_folder(path);
	if (ssh_session_update_known_hosts(s) == SSH_OK)
		return 0;
	err_set(e, ERR_SYS, EIO, "cannot write %s: %s", path, ssh_get_error(s));
	return err_fix(e, "may you write there? try sudo, or another file with --known-hosts");
}

int trust_store(const struct chan_target *to, const char *fingerprint, struct err *e)
{
	AUTO(fd) int fd = -1;
	ssh_session s = NULL;
	char print[128];
	int r = fetch(to, &s, &fd, print, sizeof(print), e);

	if (r == 0 && strcmp(print, fingerprint)) {
		err_set(e, ERR_LINK, EKEYREJECTED, "%s shows another key than before: %s", to->host,
		        print);
		r = err_fix(e,
		            "someone may intercept the connection: find out before you continue");
	}
	if (r == 0)
		r = store(s, to, e);
	ssh_free(s);
	return r;
}
