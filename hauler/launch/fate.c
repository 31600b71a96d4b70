// SPDX-License-Identifier: GPL-2.0-or-later
/* fate.c - what becomes of the program, and what the front is told of it. The only file that changes its state. */
#include "hauler/launch/priv.h"

#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/host/journal.h"
#include "engine/proc/proc.h"

#define HOLD_LIMIT_MS 2000

static void finish(struct holder *h, enum line_word word, int status)
{
	if (h->front >= 0)
		line_say(h->front, word, status);
	h->over = true;
}

/* CRIU, and what it has made. */
static void kill_all(void)
{
	struct proc_list l = { 0 };
	struct err ignore = ERR_INIT;

	if (procs_tree(getpid(), &l, &ignore) == 0)
		for (size_t i = 0; i < l.n; i++)
			if (l.pid[i] != getpid())
				kill(l.pid[i], SIGKILL);
	procs_fini(&l);
}

/* ---- its end ---- */

void fate_ended(struct holder *h, int status)
{
	h->ended = true;
	h->status = status;
	if (h->state == HOLD_GIVEN)
		finish(h, LINE_AWAY, 0);
	else if (h->state == HOLD_RUNS)
		finish(h, LINE_END, status);
	/* at the gate: fate_runs() or fate_undone() follows */
}

/* ---- its arrival ---- */

void fate_claimed(struct holder *h, uint64_t route)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* all that the restore makes stays below us */
	h->state = HOLD_CLAIMED;
	h->route = route;
}

int fate_gate(struct holder *h, pid_t root)
{
	if (procs_parent(root) != getpid() || !procs_lives(root))
		return -ESRCH;
	h->root = root;
	h->state = HOLD_GATE;
	return 0;
}

void fate_runs(struct holder *h)
{
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	for (int k = 0; k < STAND_STREAMS; k++)
		streams_close(&h->s->program[k]);
	h->state = HOLD_RUNS;
	if (h->front >= 0) {
		line_say(h->front, LINE_ROOT, h->root);
		line_say(h->front, LINE_GO, 0);
	}
	if (h->ended)
		fate_ended(h, h->status);
	else if (h->killed || h->late)
		kill(h->root, h->killed ? SIGKILL : h->late);
}

/* Nothing of it is to be read by the next one that arrives. */
static void empty_input(const struct holder *h)
{
	struct pollfd p = { .fd = h->s->program[STAND_IN], .events = POLLIN };
	char buf[4096];

	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && read(p.fd, buf, sizeof(buf)) > 0)
		;
}

void fate_undone(struct holder *h)
{
	kill_all();
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	empty_input(h);
	h->state = HOLD_WAITS;
	h->root = 0;
	h->ended = false;
	if (h->killed || h->late)
		finish(h, LINE_END, h->killed ? SIGKILL : h->late);
}

/* The worker and all its guardians are dead. What they had on record is what they have done. */
void fate_unknown(struct holder *h)
{
	struct journal *j = NULL;
	struct err e = ERR_INIT;
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, h->route, &e);

	bool ran = r == -EBUSY || (r == 0 && strcmp(journal_word(j), "gate") != 0 &&
	                           strcmp(journal_word(j), "undone") != 0);

	journal_close(j, false);
	if (ran)
		fate_runs(h);
	else
		fate_undone(h);
}

/* ---- its departure ---- */

void fate_given(struct holder *h)
{
	h->state = HOLD_GIVEN;
}

void fate_back(struct holder *h)
{
	if (h->state == HOLD_GIVEN)
		h->state = HOLD_RUNS;
	fate_hold(h, false);
	if (h->killed)
		kill(h->root, SIGKILL);
}

/* ---- the front ---- */

/* A signal that ends no program by itself. */
static bool is_harmless(int sig)
{
	return sig == SIGCONT || sig == SIGWINCH || sig == SIGURG || sig == SIGTSTP ||
	       sig == SIGTTIN || sig == SIGTTOU;
}

static void take_signal(struct holder *h, int sig)
{
	switch (h->state) {
	case HOLD_WAITS:
	case HOLD_CLAIMED:
		if (is_harmless(sig))
			return;
		kill_all();
		finish(h, LINE_END, sig);
		return;
	case HOLD_GATE:
		if (!is_harmless(sig))
			h->late = sig;
		return;
	case HOLD_RUNS:
		if (!give_wanted(h, sig))
			kill(h->root, sig);
		return;
	case HOLD_GIVEN:
		fprintf(stderr, "haul: signal %d came when the program had left: not passed on\n",
		        sig);
	}
}

/* It was killed: to the caller that means that the program is. */
static void front_gone(struct holder *h)
{
	streams_close(&h->front);
	if (h->parked)
		return;
	h->killed = true;
	if (h->state == HOLD_RUNS)
		kill(h->root, SIGKILL);
	else if (h->state != HOLD_GIVEN)
		kill_all();
	h->over = h->state == HOLD_WAITS || h->state == HOLD_CLAIMED;
}

/* Return: was it @want? */
static bool take_word(struct holder *h, enum line_word want)
{
	struct line l;

	if (line_hear(h->front, &l) < 0) {
		front_gone(h);
		return true;
	}
	if (l.word == LINE_SIGNAL)
		take_signal(h, l.value);
	else if (l.word == LINE_CLOSED && l.value >= 0 && l.value < STAND_STREAMS)
		streams_close(&h->s->ours[l.value]);
	return l.word == want;
}

void fate_front(struct holder *h)
{
	take_word(h, LINE_SIGNAL);
}

int fate_hold(struct holder *h, bool hold)
{
	uint64_t deadline = deadline_in_ms(HOLD_LIMIT_MS);

	if (h->front < 0 || h->parked)
		return 0;
	line_say(h->front, hold ? LINE_HOLD : LINE_GO, 0);
	while (hold && h->front >= 0) {
		struct pollfd p = { .fd = h->front, .events = POLLIN };

		if (poll(&p, 1, deadline_poll_ms(deadline)) <= 0)
			return -ETIMEDOUT;
		if (take_word(h, LINE_HELD))
			return 0;
	}
	return 0;
}
