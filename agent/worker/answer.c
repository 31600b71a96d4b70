// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * answer.c - a source asks for a migration whose worker is gone: the journal tells.
 * docs/HANDOVER.md says what each record means.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/mig/mig.h"
#include "common/clock.h"
#include "common/log.h"
#include "transport/haul.pb-c.h"

#define HELLO_LIMIT_MS 10000
#define GONE_LIMIT_MS  10000
#define LOOK_EVERY_US  50000

static bool runs_still(pid_t pid, uint64_t start)
{
	return pid > 0 && start && procs_start(pid) == start;
}

/* What a dead worker has left of the tree. CRIU ends it, too, when nobody holds the gate. */
static int end_tree(const struct journal *j, struct err *e)
{
	const char *v = journal_get(j, "root");
	pid_t pid = v ? (pid_t)strtol(v, NULL, 10) : 0;

	v = journal_get(j, "start");
	uint64_t start = v ? strtoull(v, NULL, 10) : 0, until = deadline_in_ms(GONE_LIMIT_MS);

	while (runs_still(pid, start) && now_us() < until) {
		struct proc_list l = { 0 };
		struct err ignore = ERR_INIT;

		if (procs_tree(pid, &l, &ignore) == 0)
			for (size_t i = 0; i < l.n; i++)
				kill(l.pid[i], SIGKILL);
		procs_fini(&l);
		usleep(LOOK_EVERY_US);
	}
	return runs_still(pid, start)
	               ? err_set(e, ERR_SYS, EBUSY, "process %d cannot be killed", pid)
	               : 0;
}

int ans_outcome(struct journal *j, struct err *e)
{
	const char *w = journal_word(j);

	if (!journal_of_this_boot(j))
		return HAUL__STATE__STATE_UNKNOWN;
	if (!strcmp(w, "done"))
		return HAUL__STATE__STATE_DONE;
	if (!strcmp(w, "undone"))
		return HAUL__STATE__STATE_UNDONE;
	if (!strcmp(w, "lost"))
		return HAUL__STATE__STATE_LOST;
	bool committed = !strcmp(w, "commit");
	int r = end_tree(j, e);

	/* with its pager it has lost its memory: better none than one that reads zeros */
	if (r == 0)
		r = journal_add(j, e, committed ? "lost" : "undone", "%s", "");
	if (r < 0)
		return r;
	return committed ? HAUL__STATE__STATE_LOST : HAUL__STATE__STATE_UNDONE;
}

void ans_filled(uint64_t route)
{
	struct journal *j = NULL;
	struct err e = ERR_INIT;
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, route, &e);

	if (r == -ENOENT)
		return; /* and the source knows it */
	if (r == 0 && !strcmp(journal_word(j), "commit"))
		r = journal_add(j, &e, "done", "%s", "");
	if (r < 0)
		log_err("route=%016llx: %s", (unsigned long long)route, e.msg);
	journal_close(j, false);
}

static int say(struct chan *ch, int state, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Hello h = HAUL__HELLO__INIT;
	Haul__Outcome o = HAUL__OUTCOME__INIT;
	char boot[JOURNAL_BOOT_BYTES];

	journal_boot_id(boot);
	h.version = PROTOCOL_VERSION;
	h.compat = PROTOCOL_COMPAT_RESUME;
	h.boot = boot;
	msg.body_case = HAUL__MSG__BODY_HELLO;
	msg.hello = &h;
	int r = wire_send(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);

	o.state = (Haul__State)state;
	msg.body_case = HAUL__MSG__BODY_OUTCOME;
	msg.outcome = &o;
	return r < 0 ? r : wire_send(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);
}

static int answer(struct chan *ch, const Haul__Hello *h, uint64_t route, struct err *e)
{
	struct journal *j = NULL;
	uint8_t secret[WRK_SECRET_BYTES];

	if (h->role != HAUL__ROLE__ROLE_RESUME)
		return err_set(e, ERR_PEER, EPROTO, "a stream of no migration");
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, route, e);

	if (r == -ENOENT) {
		err_clear(e);
		return say(ch, HAUL__STATE__STATE_UNKNOWN, e);
	}
	if (r == 0 && (wrk_secret_parse(journal_get(j, "secret"), secret) < 0 ||
	               !wrk_secret_is(secret, h->secret.data, h->secret.len)))
		r = err_set(e, ERR_PEER, EACCES, "not this migration's secret");
	if (r == 0)
		r = ans_outcome(j, e);
	if (r >= 0)
		r = say(ch, r, e);
	journal_close(j, false);
	return r;
}

int ans_main(const struct chan_server *server, int fd, uint64_t route)
{
	struct err e = ERR_INIT;
	struct chan *ch = NULL;
	Haul__Msg *msg = NULL;

	signal(SIGPIPE, SIG_IGN);
	log_migration(route);
	int r = chan_accept(&ch, fd, server, HELLO_LIMIT_MS, &e);

	if (r == 0)
		r = wire_recv(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), &e);
	if (r == 0 && msg->body_case != HAUL__MSG__BODY_HELLO)
		r = err_set(&e, ERR_PEER, EPROTO, "a stream that does not say hello");
	if (r == 0)
		r = answer(ch, msg->hello, route, &e);
	if (msg)
		haul__msg__free_unpacked(msg, NULL);
	if (r < 0)
		log_warn("no answer: %s", e.msg);
	if (r < 0 && ch && e.src == ERR_PEER)
		agt_refuse(ch, &e);
	chan_free(ch);
	return r < 0;
}
