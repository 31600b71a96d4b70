/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirs.h - directories that move with the process, at the destination: docs/FILES.md. Each is built
 * in a hidden directory beside its place and takes that place, by one rename, before the restore.
 */
#ifndef HAUL_AGENT_DIRS_H
#define HAUL_AGENT_DIRS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/finding.h"

struct wrk;
struct chan;
struct dirs_in;
struct Haul__Offer;

/** dirs_in_offer() - may the directories be written here, is there room? Makes w->fs, nothing else */
int dirs_in_offer(struct wrk *w, const struct Haul__Offer *o, struct findings *f, struct err *e);
struct settle;
/**
 * dirs_in_stage() - make the hidden directories, each on record first
 * @s:  NULL: there is nothing to do; the same for the functions below
 * @on: gets their file systems (settle_note())
 */
int dirs_in_stage(struct dirs_in *s, struct settle *on, struct err *e);
/** dirs_in_loop() - take and apply operations from the connection for files, until it ends */
int dirs_in_loop(struct dirs_in *s, struct chan *ch, struct err *e);
/** dirs_in_place() - rename every directory into its place; no operation is taken afterwards */
int dirs_in_place(struct dirs_in *s, struct err *e);
/** dirs_in_keep() - put on record that they stay */
void dirs_in_keep(struct dirs_in *s);
/** dirs_in_end() - remove the replaced directories, or, without dirs_in_keep(), undo all. Once */
void dirs_in_end(struct dirs_in *s);
/**
 * dirs_in_adopt() - the same for a dead worker, by its record
 * @kept: true: the process tree runs here; false: the journal decides
 * Return: 0; -EAGAIN: the worker lives
 */
int dirs_in_adopt(uint64_t route, bool kept);
/**
 * dirs_in_fini() - end what is left, when no connection is left
 * @committed: the process tree runs here, so the directories stay
 * Also for a successor, which finds the dead worker's directories by their record.
 */
void dirs_in_fini(struct wrk *w, bool committed);
/** dirs_in_left() - is there any record? */
bool dirs_in_left(void);
/** dirs_in_adopt_dead() - the same for a worker that was just killed: waits until its record is free */
void dirs_in_adopt_dead(uint64_t route);
/** dirs_in_sweep() - adopt every record whose worker is dead */
void dirs_in_sweep(void);

#endif
