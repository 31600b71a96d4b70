// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * answer.c - answer a source that asks about a migration whose worker is gone, from the journal.
 * docs/HANDOVER.md says what each record means.
 */
#include "agent/worker/answer.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/mig/refuse.h"
#include "agent/worker/tree.h"
#include "common/clock.h"
#include "common/host/journal.h"
#include "common/log.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/keys/secret.h"
#include "transport/msg/wire.h"
#include "transport/transport.h"

#define HELLO_LIMIT_MS 10000
#define GONE_LIMIT_MS  10000
#define LOOK_EVERY_US  50000

static bool runs_still(pid_t pid, uint64_t start)
{
	return pid > 0 && start && procs_start(pid) == start;
}

/* Kill what a dead worker left of the tree. CRIU kills it, too, when nobody holds the gate. */
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

static int outcome(struct journal *j, struct err *e)
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
	if (!strcmp(w, "ended"))
		return HAUL__STATE__STATE_ENDED;
	bool committed = !strcmp(w, "commit");
	int r = end_tree(j, e);

	if (r < 0)
		return r;
	/* the tree has lost its memory with its pager: no copy is better than one that reads zeros */
	r = journal_add(j, e, committed ? "lost" : "undone", "%s", "");
	if (r < 0)
		return r;
	return committed ? HAUL__STATE__STATE_LOST : HAUL__STATE__STATE_UNDONE;
}

void answer_filled(uint64_t route)
{
	struct journal *j = NULL;
	struct err e = ERR_INIT;
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, route, &e);

	if (r == -ENOENT)
		return; /* removed: the source knows it already */
	if (r == 0 && !strcmp(journal_word(j), "commit"))
		r = journal_add(j, &e, "done", "%s", "");
	if (r < 0)
		log_err("route=%016llx: %s", (unsigned long long)route, e.msg);
	journal_close(j, false);
}

/* @ended: how the tree ended, or empty */
static int say(struct chan *ch, int state, char *ended, struct err *e)
{
	Haul__Outcome o = HAUL__OUTCOME__INIT;
	int r = wire_say_hello_back(ch, deadline_in_ms(HELLO_LIMIT_MS), e);

	if (r < 0)
		return r;
	o.state = (Haul__State)state;
	o.ended = ended;
	return wire_say(ch, HAUL__MSG__BODY_OUTCOME, &o, deadline_in_ms(HELLO_LIMIT_MS), e);
}

static int look_up(struct journal *j, const Haul__Hello *h, struct err *e)
{
	uint8_t secret[SECRET_BYTES];

	if (secret_parse(journal_get(j, "secret"), secret) < 0 ||
	    !secret_is(secret, h->secret.data, h->secret.len))
		return err_set(e, ERR_PEER, EACCES, "not this migration's secret");
	return outcome(j, e);
}

static int answer(struct chan *ch, const Haul__Hello *h, uint64_t route, struct err *e)
{
	struct journal *j = NULL;
	char ended[TREE_ENDED_BYTES] = "";

	if (h->role != HAUL__ROLE__ROLE_RESUME)
		return err_set(e, ERR_PEER, EPROTO, "a stream of no migration");
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, route, e);

	if (r == -ENOENT) {
		err_clear(e);
		return say(ch, HAUL__STATE__STATE_UNKNOWN, ended, e);
	}
	if (r < 0)
		return r;
	r = look_up(j, h, e);
	if (r == HAUL__STATE__STATE_ENDED)
		tree_ended(j, ended);
	if (r >= 0)
		r = say(ch, r, ended, e);
	journal_close(j, false);
	return r;
}

static int serve(struct chan *ch, uint64_t route, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = wire_recv(ch, &msg, deadline_in_ms(HELLO_LIMIT_MS), e);

	if (r < 0)
		return r;
	r = msg->body_case == HAUL__MSG__BODY_HELLO
	            ? answer(ch, msg->hello, route, e)
	            : err_set(e, ERR_PEER, EPROTO, "a stream that does not say hello");
	haul__msg__free_unpacked(msg, NULL);
	return r;
}

int answer_main(const struct chan_server *server, int fd, uint64_t route)
{
	struct err e = ERR_INIT;
	struct chan *ch = NULL;

	signal(SIGPIPE, SIG_IGN);
	log_migration(route);
	int r = chan_accept(&ch, fd, server, HELLO_LIMIT_MS, &e);

	if (r == 0)
		r = serve(ch, route, &e);
	if (r < 0)
		log_warn("no answer: %s", e.msg);
	if (r < 0 && ch && e.src == ERR_PEER)
		refuse_peer(ch, &e);
	chan_free(ch);
	return r < 0;
}
