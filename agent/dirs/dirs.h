/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * afs.h - trees that travel, at the destination: docs/FILES.md. They grow in a hidden directory
 * beside their place and take it, by one rename each, before the restore.
 */
#ifndef HAUL_AGENT_AFS_H
#define HAUL_AGENT_AFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/finding.h"

struct wrk;
struct chan;
struct afs;
struct Haul__Offer;

/** afs_open_beneath() - @path in @dir, through no link and into no other file system */
int afs_open_beneath(int dir, const char *path, int flags, mode_t mode, bool other_fs);
/** afs_offer() - may the trees come, is there room? w->fs is made, nothing else */
int afs_offer(struct wrk *w, const struct Haul__Offer *o, struct findings *f, struct err *e);
struct settle;
/**
 * afs_stage() - the hidden directories, on record before they are made. @s may be NULL, as below
 * @on: is told their file systems
 */
int afs_stage(struct afs *s, struct settle *on, struct err *e);
/** afs_loop() - what comes on the connection for files */
int afs_loop(struct afs *s, struct chan *ch, struct err *e);
/** afs_place() - all trees take their places; nothing more is taken from the source */
int afs_place(struct afs *s, struct err *e);
/** afs_keep() - on record: they stay */
void afs_keep(struct afs *s);
/** afs_end() - remove what was replaced, or, without afs_keep(), undo all. Again: nothing */
void afs_end(struct afs *s);
/**
 * afs_adopt() - the same for a worker that is dead, by its record
 * @kept: the tree runs here; else the journal tells
 * Return: 0; -EAGAIN: its owner lives
 */
int afs_adopt(uint64_t route, bool kept);
/** afs_fini() - when no connection is left; also of a successor, which finds the dead worker's trees */
void afs_fini(struct wrk *w);
/** afs_left() - are there records? */
bool afs_left(void);
/** afs_adopt_dead() - the same when it was just killed: waits until its record is free */
void afs_adopt_dead(uint64_t route);
/** afs_sweep() - adopt all that have no owner */
void afs_sweep(void);

#endif
