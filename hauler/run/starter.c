// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * starter.c - tell the haul run or haul land whose child the tree is what becomes of it, so that it
 * does not take the end of the copy here for a crash.
 */
#include "hauler/run/priv.h"

#include <string.h>

#include "common/log.h"
#include "common/stand.h"

/* Return: 0; -ENOENT there is none */
static int find(struct mig *m)
{
	if (m->copy.starter < 0)
		m->copy.starter = stand_of(procs_parent(m->opt->pid));
	return m->copy.starter < 0 ? -ENOENT : 0;
}

static int tell(struct mig *m, enum stand_word word, struct err *e)
{
	struct stand_mail mail = {
		.m = { .word = word, .pid = m->opt->pid, .route = m->link.route }
	};

	return find(m) < 0 ? 0 : stand_ask(m->copy.starter, &mail, e);
}

int starter_hold(struct mig *m, struct err *e)
{
	return tell(m, STAND_HOLD, e);
}

int starter_given(struct mig *m, struct err *e)
{
	/* starter_hold() has looked for it; a search would cost the stop 16 connects */
	return m->copy.starter < 0 ? 0 : tell(m, STAND_GIVEN, e);
}

void starter_back(struct mig *m)
{
	struct err e = ERR_INIT;

	if (tell(m, STAND_BACK, &e) < 0)
		log_err("%s", e.msg);
	starter_forget(m);
}

void starter_forget(struct mig *m)
{
	if (m->copy.starter >= 0)
		close(m->copy.starter);
	m->copy.starter = -1;
}
