// SPDX-License-Identifier: GPL-2.0-or-later
/* guests.c - answer those that move the program: a haul here, or the hauld that brings it. */
#include "hauler/launch/priv.h"

#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"

#define HEAR_LIMIT_MS 1000

void guests_add(struct holder *h, int door)
{
	AUTO(fd) int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid;

	for (int i = 0; fd >= 0 && i < GUESTS_MAX; i++) {
		struct guest *g = &h->guest[i];

		if (g->fd >= 0)
			continue;
		*g = (struct guest){ .fd = -1 };
		/* only root, or the user that the program is of */
		if (stand_peer(fd, &g->uid, &pid) == 0 && (g->uid == 0 || g->uid == geteuid()))
			g->fd = steal_fd(&fd);
		return;
	}
}

static void drop(struct holder *h, struct guest *g)
{
	bool held = g->holds, claimed = g->claims;

	close(g->fd);
	*g = (struct guest){ .fd = -1 };
	if (held && h->state == HOLD_RUNS)
		fate_hold(h, false);
	if (claimed && h->state == HOLD_CLAIMED)
		fate_undone(h);
	if (claimed && h->state == HOLD_GATE)
		fate_unknown(h);
}

/* ---- words. Each answers in place: 0: yes; -errno: no ---- */

static int ask(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	bool has = h->state == HOLD_RUNS || h->state == HOLD_GIVEN;

	(void)g;
	mail->m.pid = has ? h->root : 0;
	mail->m.owner = h->l->opt->user.owned ? h->l->opt->user.owner : UINT32_MAX;
	mail->m.unread = h->parked;
	memcpy(mail->m.inode, h->s->inode, sizeof(mail->m.inode));
	return 0;
}

static int hold(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	if (h->state != HOLD_RUNS || mail->m.pid != h->root)
		return -ESRCH;
	g->holds = true;
	return fate_hold(h, true);
}

static int given(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	(void)g;
	if (h->state != HOLD_RUNS || mail->m.pid != h->root || h->killed)
		return -ESRCH;
	fate_given(h);
	return 0;
}

static int back(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	(void)g;
	if (mail->m.pid != h->root)
		return -ESRCH;
	fate_back(h);
	return 0;
}

static int claim(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	if (g->uid != 0 || h->land_door < 0)
		return -EPERM;
	if (h->state != HOLD_WAITS)
		return -EBUSY;
	g->claims = true;
	fate_claimed(h, mail->m.route);
	memcpy(mail->fd, h->s->program, sizeof(h->s->program));
	mail->n_fds = STAND_STREAMS;
	return 0;
}

static int spawn(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	struct criu_inherit v[CRIU_INHERIT_MAX] = { 0 };
	struct err e = ERR_INIT;
	pid_t pid;

	if (!g->claims || h->state != HOLD_CLAIMED || mail->n_fds < 1 ||
	    mail->n_fds > CRIU_INHERIT_MAX + 1) {
		stand_drop(mail);
		return -EPERM;
	}
	for (size_t i = 1; i < mail->n_fds; i++)
		v[i - 1].fd = mail->fd[i];
	int r = criu_spawn_for(mail->m.text, mail->fd[0], v, mail->n_fds - 1, &pid, &e);

	stand_drop(mail);
	mail->m.pid = pid;
	return r;
}

static int gate(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	return g->claims && h->state == HOLD_CLAIMED ? fate_gate(h, mail->m.pid) : -EPERM;
}

static const struct {
	enum stand_word word;
	const char *name;
	int (*take)(struct holder *h, struct guest *g, struct stand_mail *mail);
} words[] = {
	{ STAND_ASK, "ask", ask },       { STAND_HOLD, "hold", hold },
	{ STAND_GIVEN, "given", given }, { STAND_BACK, "back", back },
	{ STAND_CLAIM, "claim", claim }, { STAND_SPAWN, "spawn", spawn },
	{ STAND_GATE, "gate", gate },
};

static int answer(struct holder *h, struct guest *g, struct stand_mail *mail)
{
	enum stand_word word = mail->m.word;
	const char *name = "?";
	int r = -EPROTO;

	if (word != STAND_SPAWN)
		stand_drop(mail); /* no other word has descriptors */
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].word == word) {
			name = words[i].name;
			r = words[i].take(h, g, mail);
		}
	mail->m.word = r < 0 ? STAND_NO : STAND_YES;
	if (r < 0)
		snprintf(mail->m.text, sizeof(mail->m.text),
		         "haul run or haul land (pid %d) says no to \"%s\": %s", getpid(), name,
		         strerror(-r));
	return stand_say(g->fd, mail);
}

void guests_hear(struct holder *h, struct guest *g)
{
	struct stand_mail mail = { 0 };
	int r = stand_hear(g->fd, &mail, deadline_in_ms(HEAR_LIMIT_MS));
	bool brings = g->claims && (h->state == HOLD_GATE || h->state == HOLD_CLAIMED);

	if (r == 0 && mail.m.word == STAND_RUNS) {
		if (brings && h->state == HOLD_GATE)
			fate_runs(h);
	} else if (r == 0 && mail.m.word == STAND_UNDO) {
		if (brings)
			fate_undone(h);
		g->claims = false;
	} else if (r == 0) {
		r = answer(h, g, &mail);
	}
	if (r < 0)
		drop(h, g);
}
