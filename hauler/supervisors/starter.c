// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * starter.c - tell the haul run or haul land whose child the tree is what becomes of it, so that it
 * does not take the end of the copy here for a crash.
 */
#include "hauler/supervisors/supervisors.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/local/stand.h"

/* Return: 0; -ENOENT there is none */
static int find(struct mig *m)
{
	if (m->copy.starter < 0)
		m->copy.starter = stand_of(procs_parent(m->opt->pid));
	return m->copy.starter < 0 ? -ENOENT : 0;
}

/* The tree is stopped, or will be with the answer. A recovery has no such limit. */
static uint64_t limit_ms(const struct mig *m)
{
	return m->opt->pol.v.freeze_limit_ms ? m->opt->pol.v.freeze_limit_ms : STAND_LIMIT_MS;
}

static int tell(struct mig *m, enum stand_word word, uint64_t ms, struct err *e)
{
	struct stand_mail mail = {
		.m = { .word = word, .pid = m->opt->pid, .route = m->link.route }
	};

	return find(m) < 0 ? 0 : stand_ask(m->copy.starter, &mail, ms, e);
}

int starter_hold(struct mig *m, struct err *e)
{
	return tell(m, STAND_HOLD, limit_ms(m), e);
}

int starter_given(struct mig *m, struct err *e)
{
	uint64_t now = now_us(), until = mig_freeze_end(m);

	/* starter_hold() has looked for it; a search would cost the stop 16 connects */
	return m->copy.starter < 0
	               ? 0
	               : tell(m, STAND_GIVEN, until > now ? (until - now) / 1000 : 0, e);
}

void starter_back(struct mig *m)
{
	struct err e = ERR_INIT;

	if (tell(m, STAND_BACK, limit_ms(m), &e) < 0)
		log_err("%s", e.msg);
	starter_forget(m);
}

void starter_forget(struct mig *m)
{
	if (m->copy.starter >= 0)
		close(m->copy.starter);
	m->copy.starter = -1;
}
