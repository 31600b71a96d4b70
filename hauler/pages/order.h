/* SPDX-License-Identifier: GPL-2.0-or-later */
/* order.h - which pages are pushed next after the switch-over. */
#ifndef HAUL_ORDER_H
#define HAUL_ORDER_H

#include "common/page.h"
#include "engine/images/class_runs.h"
#include "hauler/pages/send.h"

/* Pages of one object that the destination lacks. */
struct left_obj {
	uint64_t obj;
	struct class_runs runs;
};

struct order;

/**
 * order_new() - put the pages of class PC_LAZY_REMOTE in @left into an order
 * @s: knows which of them were written often; borrowed for this call only
 */
int order_new(struct order **out, const struct left_obj *left, size_t n, const struct sent *s,
              struct err *e);
/** order_waits() - the program waits for these pages: the caller sends them now; push their neighbours next */
void order_waits(struct order *o, uint64_t obj, uint64_t vaddr, uint64_t pages);
/** order_next() - a run of pages to push, once each. Return: false: no pages are left */
bool order_next(struct order *o, uint64_t *obj, uint64_t *vaddr, uint64_t *pages);
void order_free(struct order *o);

#endif
