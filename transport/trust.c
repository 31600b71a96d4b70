// SPDX-License-Identifier: GPL-2.0-or-later
/* trust.c - haul trust HOST: see a host's key, and remember it once a human said yes. */
#include "transport/priv.h"

#include <string.h>

#include "common/clock.h"

/* @c: visit_close() in any case */
static int fetch(const struct chan_target *to, struct visit *c, char *print, size_t bytes,
                 struct err *e)
{
	uint64_t deadline = deadline_in_ms(to->connect_ms);
	int r;

	for (unsigned int n = 0; (r = visit_open(to, c, deadline, e)) < 0; n++) {
		visit_close(c);
		if (!visit_again(c, n, deadline))
			return r;
		err_clear(e);
	}
	r = key_print(c->host_key, print, bytes);
	return r < 0 ? err_set(e, ERR_SYS, -r, "key of %s: no fingerprint", to->host) : 0;
}

int trust_fetch(const struct chan_target *to, char *fingerprint, size_t bytes, int *known,
                struct err *e)
{
	struct visit c;
	int r = fetch(to, &c, fingerprint, bytes, e) < 0 ? err_code(e)
	                                                 : known_look_up(to, c.host_key, known, e);

	visit_close(&c);
	return r;
}

static int store(const struct chan_target *to, ssh_key key, struct err *e)
{
	int as, r = known_look_up(to, key, &as, e);

	if (r < 0 || as == KNOWN_SAME)
		return r;
	if (as == KNOWN_OTHER) {
		err_set(e, ERR_USER, EEXIST, "%s is known with another key", to->host);
		return err_fix(e, "if you are sure, remove its line from %s first", known_path(to));
	}
	r = known_add(to, key);
	if (r >= 0)
		return 0;
	err_set(e, ERR_SYS, EIO, "cannot write %s: %s", known_path(to), strerror(-r));
	return err_fix(e, "may you write there? try sudo, or another file with --known-hosts");
}

static int store_if(const struct chan_target *to, const struct visit *c, const char *print,
                    const char *fingerprint, struct err *e)
{
	if (!strcmp(print, fingerprint))
		return store(to, c->host_key, e);
	err_set(e, ERR_LINK, EKEYREJECTED, "%s shows another key than before: %s", to->host, print);
	return err_fix(e, "someone may intercept the connection: find out before you continue");
}

int trust_store(const struct chan_target *to, const char *fingerprint, struct err *e)
{
	struct visit c;
	char print[128];
	int r = fetch(to, &c, print, sizeof(print), e) < 0
	                ? err_code(e)
	                : store_if(to, &c, print, fingerprint, e);

	visit_close(&c);
	return r;
}
