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
struct Haul__Answer;
struct Haul__Doubt;
struct Haul__Msg;
struct pagemap;
struct load_log;

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
/* ---- files.c: what files hold ---- */

enum load_what { LOAD_FILES, LOAD_TREE }; /* single files; directories */

/** load_keeps() - does the state have what they held? */
bool load_keeps(const struct load *l, enum load_what what);
/**
 * load_fit_files() - the offer says of files that the tree writes what they were like in the freeze; one that is another
 * by now is not taken for the same
 */
void load_fit_files(struct load *l);
/** load_digests() - of the first bytes of files, for PROOF. @out: 16 bytes for each of @d, zeros: not known */
int load_digests(struct load *l, const struct Haul__Doubt *d, uint64_t seed, uint8_t *out,
                 struct err *e);
/** load_seen() - which files travel; SWITCH speaks of those that are shared only. Return: 0; -errno */
int load_seen(struct load *l, const struct Haul__Answer *a, struct err *e);
/** load_wants() - does any file travel? */
bool load_wants(const struct load *l);
/** load_log_new() - read the messages that bring @what, from the first on */
int load_log_new(struct load_log **out, struct load *l, enum load_what what, struct err *e);
/**
 * load_log_next() - the next one that the worker needs. @out: the caller's, haul__msg__free_unpacked()
 * Return: 1; 0: there is none; -ENODATA: a file that travels was not in the archive; -EBADMSG
 */
int load_log_next(struct load_log *g, struct Haul__Msg **out, struct err *e);
void load_log_free(struct load_log *g);

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
