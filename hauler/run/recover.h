/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recover.h - haul recover and haul resolve. */
#ifndef HAUL_RECOVER_H
#define HAUL_RECOVER_H

#include "hauler/mig/mig.h"

struct recover {
	const struct opts
	        *opt; /* dest, identity, ... given here take precedence over the journal's */
	uint64_t id; /* 0: all */
	bool list; /* list the migrations, change nothing */
	bool keep; /* recover_resolve() */
	unsigned int left; /* out: not completed, an operator is needed */
	struct mig *current; /* for the signal thread */
};

/** recover_all() - complete every migration whose haul is dead. Return: 0, or -errno */
int recover_all(struct recover *rc);
/**
 * recover_resolve() - the operator decides what only the destination could know
 * @keep: the copy here resumes; else it is killed
 */
int recover_resolve(struct recover *rc, bool keep);

#endif
