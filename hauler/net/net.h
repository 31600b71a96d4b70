/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net.h - the network of the tree, at the source: what the steps of run/ call, in this order. */
#ifndef HAUL_HAULER_NET_H
#define HAUL_HAULER_NET_H

#include "common/finding.h"
#include "common/hook.h"
#include "hauler/inspect/inspect.h"

struct mig;
struct mnet;
struct Haul__Offer;
struct Haul__Switch;

/** mnet_new() - find the addresses that move; hooks of the configuration */
int mnet_new(struct mig *m, struct err *e);
/** mnet_judge() - for inspect_new_with(); lives as long as the mnet */
const struct inspect_net *mnet_judge(const struct mnet *n);
/** mnet_findings() - what forbids the move of the addresses. Return: 0; -errno */
int mnet_findings(struct mig *m, struct findings *f, struct err *e);
/** mnet_offer() - fill in offer->net; freed by mnet_free() */
int mnet_offer(struct mig *m, struct Haul__Offer *offer, struct err *e);
/** mnet_moves_tcp() - do TCP connections move (--tcp=move)? */
bool mnet_moves_tcp(const struct mnet *n);
/** mnet_prepare() - hook */
int mnet_prepare(struct mig *m, struct err *e);
/**
 * mnet_quiet() - make the lock's table: no new connections come in, and the tree accepts those that
 * wait
 */
int mnet_quiet(struct mig *m, struct err *e);
/** mnet_freeze() - CRIU holds the tree: its packets are dropped from here on */
int mnet_freeze(struct mig *m, struct err *e);
/** mnet_locks() - does mnet_freeze() lock anything? */
bool mnet_locks(const struct mnet *n);
/** mnet_note() - the same when nothing is locked: which connections are closed */
int mnet_note(struct mig *m, struct err *e);
/** mnet_images() - the images that CRIU has written: some connections are closed there */
int mnet_images(struct mig *m, struct err *e);
/** mnet_give() - take the addresses off this host; hook */
int mnet_give(struct mig *m, struct err *e);
/** mnet_switch() - fill in s->flow; freed by mnet_free() */
int mnet_switch(struct mig *m, struct Haul__Switch *s, struct err *e);
/** mnet_ship() - send on what arrived here for the tree since */
int mnet_ship(struct mig *m, struct err *e);
/**
 * mnet_count() - for the report. @lost: connections without a descriptor, whose peers are reset: not
 * accepted in time, or closed by the program and not sent
 */
void mnet_count(const struct mig *m, unsigned int *moved, unsigned int *lost);
/** mnet_running() - the tree runs at the destination; hook */
void mnet_running(struct mig *m);
/** mnet_end() - before our copy is killed: how its connections end */
void mnet_end(struct mig *m);
/** mnet_done() - our copy is gone, the lock can go */
void mnet_done(struct mig *m);
/** mnet_undo() - as before the migration; before the tree resumes. May be called twice */
void mnet_undo(struct mig *m);
/** mnet_undone() - the destination has cleaned up, too: announce the addresses here again; hook */
void mnet_undone(struct mig *m);
/** mnet_word() - for the journal: what would have to be undone. NULL: no memory */
char *mnet_word(const struct mig *m);
/** mnet_adopt() - m->net from the journal's @word, with m->copy.held; for mnet_undo(), mnet_done() */
int mnet_adopt(struct mig *m, const char *word, struct err *e);
void mnet_free(struct mnet *n);

#endif
