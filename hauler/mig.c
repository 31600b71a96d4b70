// SPDX-License-Identifier: GPL-2.0-or-later
/* mig.c - the states of a migration at the source. The only file that writes m->state. */
#include "hauler/hauler.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

struct step {
	const char *name;
	unsigned int may_go_to; /* bit mask of states */
	enum mig_home home; /* who may run the tree while it lasts */
	bool frozen; /* counts against the freeze limit */
	int (*run)(struct mig *m, struct err *e);
	void (*undo)(struct mig *m); /* NULL: nothing to undo, or past the commit */
};

#define TO(s) BIT(MIG_##s)

/* COMMIT is the point of no return: from there on no row has an undo. */
static const struct step steps[] = {
	/* clang-format off */
[MIG_NEW]       = { "new",       TO(CONNECT),              HOME_SOURCE, false, NULL,          NULL },
[MIG_CONNECT]   = { "connect",   TO(NEGOTIATE) | TO(UNDO), HOME_SOURCE, false, connect_run,   connect_undo },
[MIG_NEGOTIATE] = { "negotiate", TO(PREPARE) | TO(UNDO),   HOME_SOURCE, false, negotiate_run, NULL },
[MIG_PREPARE]   = { "prepare",   TO(ROUNDS) | TO(UNDO),    HOME_SOURCE, false, prepare_run,   prepare_undo },
[MIG_ROUNDS]    = { "rounds",    TO(FREEZE) | TO(UNDO),    HOME_SOURCE, false, rounds_run,    rounds_undo },
[MIG_FREEZE]    = { "freeze",    TO(SEND) | TO(UNDO),      HOME_NOBODY, true,  freeze_run,    freeze_undo },
[MIG_SEND]      = { "send",      TO(RESTORE) | TO(UNDO),   HOME_NOBODY, true,  final_run,     NULL },
[MIG_RESTORE]   = { "restore",   TO(COMMIT) | TO(UNDO),    HOME_NOBODY, true,  restore_run,   restore_undo },
[MIG_COMMIT]    = { "commit",    TO(POSTCOPY) | TO(LOST) | TO(UNDO),
                                                           HOME_DEST,   false, commit_run,    NULL },
[MIG_POSTCOPY]  = { "post-copy", TO(DONE) | TO(LOST),      HOME_DEST,   false, postcopy_run,  NULL },
[MIG_DONE]      = { "done",      0,                        HOME_DEST,   false, NULL,          NULL },
[MIG_UNDO]      = { "undo",      TO(UNDONE),               HOME_SOURCE, false, NULL,          NULL },
[MIG_UNDONE]    = { "undone",    0,                        HOME_SOURCE, false, NULL,          NULL },
[MIG_LOST]      = { "lost",      0,                        HOME_DEST,   false, NULL,          NULL },
	/* clang-format on */
};
_Static_assert(ARRAY_SIZE(steps) == MIG_NSTATES, "a state has no row");

const char *mig_state_name(enum mig_state s)
{
	return (unsigned int)s < MIG_NSTATES ? steps[s].name : "?";
}

enum mig_home mig_state_home(enum mig_state s)
{
	return steps[s].home;
}

uint64_t mig_deadline(const struct mig *m)
{
	if (steps[m->state].frozen && m->t.freeze_us)
		return m->t.freeze_us + (uint64_t)m->opt->freeze_limit_ms * 1000;
	return deadline_in_ms(30000);
}

static int go_to(struct mig *m, enum mig_state to)
{
	if (!(steps[m->state].may_go_to & BIT(to)))
		return err_set(&m->err, ERR_BUG, EINVAL, "no edge %s -> %s",
		               mig_state_name(m->state), mig_state_name(to));
	log_info("state=%s next=%s", mig_state_name(m->state), mig_state_name(to));
	m->state = to;
	rep_state(m);
	return 0;
}

/* The steps that were begun, last first: the tree comes back before anything else. */
static void undo_from(struct mig *m, enum mig_state failed)
{
	struct err why = m->err;

	go_to(m, MIG_UNDO);
	for (int s = (int)failed; s > MIG_NEW; s--)
		if (steps[s].undo)
			steps[s].undo(m);
	m->err = why;
	go_to(m, MIG_UNDONE);
}

int mig_run(struct mig *m, const struct opts *opt)
{
	static const enum mig_state order[] = { MIG_CONNECT, MIG_NEGOTIATE, MIG_PREPARE,
		                                MIG_ROUNDS,  MIG_FREEZE,    MIG_SEND,
		                                MIG_RESTORE, MIG_COMMIT,    MIG_POSTCOPY };

	m->opt = opt;
	m->t.start_us = now_us();
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		int r = go_to(m, order[i]);

		if (r == 0)
			r = steps[m->state].run(m, &m->err);
		if (r == 0)
			continue;
		if (m->err.src == ERR_NONE)
			err_set(&m->err, ERR_BUG, -r, "step %s", mig_state_name(m->state));
		m->t.end_us = now_us();
		if (m->committed)
			go_to(m, MIG_LOST);
		else
			undo_from(m, m->state);
		return -m->err.code;
	}
	m->t.end_us = now_us();
	return go_to(m, MIG_DONE);
}

bool mig_stop(struct mig *m)
{
	pthread_mutex_lock(&m->lock);
	bool can = !m->committed;

	if (can && !m->stop) {
		m->stop = true;
		if (m->send)
			send_cancel(m->send);
		if (m->criu)
			criu_cancel(m->criu);
		if (m->ctl)
			chan_cancel(m->ctl);
	}
	pthread_mutex_unlock(&m->lock);
	return can;
}

void mig_fini(struct mig *m)
{
	/* the signal thread may still look */
	pthread_mutex_lock(&m->lock);
	struct send *s = steal(m->send);
	struct criu *c = steal(m->criu);
	struct chan *ctl = steal(m->ctl);

	pthread_mutex_unlock(&m->lock);
	send_free(s);
	criu_free(c);
	sink_free(steal(m->sink));
	scans_free(steal(m->scans));
	free(steal(m->ours));
	trk_free(steal(m->trk));
	sent_free(steal(m->sent));
	insp_free(steal(m->insp));
	size_t n_maps = m->maps ? m->n_maps : 0;

	for (size_t i = 0; i < n_maps; i++)
		cruns_fini(&m->maps[i]);
	free(steal(m->maps));
	for (size_t i = 0; i < m->n_held; i++)
		close(m->held[i].pidfd);
	free(steal(m->held));
	mem_close_all(m);
	for (unsigned int i = 0; i < STREAMS_LIMIT; i++)
		chan_free(steal(m->data[i]));
	chan_free(steal(m->urgent));
	chan_free(ctl);
	if (m->images_fd >= 0)
		close(m->images_fd);
}
