/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * locks.h - locks on files that both hosts see: the stopped copy gives them up, so that the copy at the
 * destination can take them; an undo takes them again.
 */
#ifndef HAUL_FILES_LOCKS_H
#define HAUL_FILES_LOCKS_H

#include <stdbool.h>

#include "common/auto.h"
#include "common/err.h"
#include "common/finding.h"

struct locks;
struct mig;
struct needs;
struct inspect;

/** locks_note() - before the offer: note which of the files the tree has locks on */
void locks_note(struct needs *n, const struct inspect *insp);
/**
 * locks_say() - after needs_seen(): locks that will be handed over; a process outside the tree that waits
 * for one of them is a blocker. Return: 0; -ENOMEM
 */
int locks_say(const struct needs *n, const struct inspect *insp, struct findings *out);

/**
 * locks_warm() - make locks_find() quick, from now on until it is called; see engine/proc/warm.h. Return: 0
 */
int locks_warm(struct mig *m, struct err *e);
/** locks_find() - the tree is dumped: m->copy.locks, NULL: none has to be handed over */
int locks_find(struct mig *m, struct err *e);
/** locks_are_posix() - does one of them belong to a process? Then CRIU must have let go of it first */
bool locks_are_posix(const struct locks *l);
/**
 * locks_give() - before SWITCH: give them up
 * Return: 0; -EBUSY another process waits for one and would get it; -errno: undo
 */
int locks_give(struct locks *l, struct err *e);
/** locks_given() - has locks_give() begun? Also true of locks_adopt() */
bool locks_given(const struct locks *l);
/**
 * locks_take() - undo: no copy is left at the destination, and the processes here are stopped or held by
 * no other process. Waits a few seconds for locks that the other copy still has; what fails is logged.
 */
void locks_take(struct locks *l);
/** locks_word() - for the journal; the caller frees. NULL: no memory */
char *locks_word(const struct locks *l);
/** locks_adopt() - what a dead haul has noted in its journal: m->copy.locks, of processes that are held */
int locks_adopt(struct mig *m, const char *word, struct err *e);
void locks_free(struct locks *l);
DEFINE_AUTO(locks, locks_free)

#endif
