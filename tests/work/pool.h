/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pool.h - churn's regions: mappings that come, go, move and change under an exact model. */
#ifndef POOL_H
#define POOL_H

#include "work.h"

struct pool_op {
	const char *name;
	unsigned weight;
	void (*run)(void);
};

extern const struct pool_op pool_ops[];
extern const size_t pool_nr_ops;

void pool_init(size_t regions, bool with_free);
void pool_own(uint16_t owner);
void pool_write(void);
void pool_discard(void);
void pool_verify(struct report *r);
void pool_sabotage(long kind);
size_t pool_pages(void);
struct rnd *pool_rnd(void);

#endif
