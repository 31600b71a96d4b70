/* SPDX-License-Identifier: GPL-2.0-or-later */
/* load.h - an archive as the source of a migration. */
#ifndef HAUL_HAULER_LOAD_H
#define HAUL_HAULER_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct mig;
struct load;
struct Haul__Offer;
struct Haul__Switch;
struct pagemap;

/**
 * load_begin() - open the archive of m->opt->dest, choose a state, judge it; m->load, m->link.dial, m->pages
 * Return: 0; -EEXIST: an earlier load, or what was saved, may live; -ENOENT: no such state; -EBADMSG
 */
int load_begin(struct mig *m, struct err *e);
/** load_attach() - for recovery: the same, of a load that has been committed */
int load_attach(struct mig *m, struct err *e);
/** load_view() - a state to read, not to load. @out: for load_free() in every case */
int load_view(struct load **out, const char *path, unsigned int state, struct err *e);
/** load_pid() - process ID of the root */
pid_t load_pid(const struct load *l);
/** load_number() - of the state */
unsigned int load_number(const struct load *l);
/** load_offer() - as it was saved; borrowed, and may be changed */
struct Haul__Offer *load_offer(struct load *l);
/** load_switch() - the same */
struct Haul__Switch *load_switch(struct load *l);
/** load_images() - all images into the folder @dir */
int load_images(struct load *l, int dir, struct err *e);
/** load_map() - where the pages of @obj are; NULL: the state has no such object */
const struct pagemap *load_map(const struct load *l, uint64_t obj);
/** load_use() - note in the archive that @pid is about to run: durable when it returns */
int load_use(struct load *l, pid_t pid, uint64_t route, struct err *e);
/** load_commit() - from here on a read that fails waits, and tries again: nothing can be undone */
void load_commit(struct load *l);
/** load_stop() - a read that waits for the archive gives up */
void load_stop(struct load *l);
void load_free(struct load *l);
DEFINE_AUTO(load, load_free)

#endif
