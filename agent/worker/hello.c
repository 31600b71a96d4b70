// SPDX-License-Identifier: GPL-2.0-or-later
/* hello.c - the first message of a migration: versions, and the secret for its further connections. */
#include "agent/worker/hello.h"

#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include "agent/check/check.h"
#include "agent/mig/mig.h"
#include "common/clock.h"
#include "common/log.h"
#include "config.h"
#include "transport/msg/haul.pb-c.h"

#define CRIU_LIMIT_MS 5000

/* The version of CRIU, as 40201; 0: it does not work */
static unsigned int criu_here(const struct wrk *w)
{
	AUTO(criu) struct criu *c = NULL;
	struct err e = ERR_INIT;
	unsigned int version = 0;

	if (criu_spawn(&c, w->conf->criu_path, -1, &e) < 0 ||
	    criu_version(c, &version, deadline_in_ms(CRIU_LIMIT_MS), &e) < 0)
		log_warn("CRIU %s: %s", w->conf->criu_path, e.msg);
	return version;
}

int hello_take(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	Haul__Hello h = HAUL__HELLO__INIT;
	const Haul__Hello *in = msg->hello;
	struct utsname u;
	char program[] = PACKAGE_STRING, boot[JOURNAL_BOOT_BYTES];

	if (in->compat > PROTOCOL_VERSION || in->version < PROTOCOL_COMPAT) {
		err_set(e, ERR_PEER, EPROTONOSUPPORT,
		        "the source speaks protocol %u (%u at least), we speak %u", in->version,
		        in->compat, PROTOCOL_VERSION);
		return err_fix(e, "install the same haul on both hosts");
	}
	if (in->role != HAUL__ROLE__ROLE_CONTROL)
		return err_set(e, ERR_PEER, EPROTO, "a stream of no migration");
	if (getrandom(w->secret, sizeof(w->secret), 0) != sizeof(w->secret))
		return err_sys(e, "getrandom");
	memcpy(w->keep->secret, w->secret, sizeof(w->secret));
	log_info("source=%s program=\"%s\" key=\"%s\"", in->host, in->program, chan_peer(w->ctl));
	uname(&u);
	if (in->probe) {
		h.kernel = u.release;
		h.mem_free_bytes = check_mem_free_bytes();
		h.criu_version = criu_here(w);
	}
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT;
	h.program = program;
	h.host = u.nodename;
	h.route = w->route;
	journal_boot_id(boot);
	h.boot = boot;
	h.secret.data = w->secret;
	h.secret.len = sizeof(w->secret);
	return wrk_say(w, HAUL__MSG__BODY_HELLO, &h, e);
}
