/* SPDX-License-Identifier: GPL-2.0-or-later */
/* threads.h - what the threads of the tree have that CRIU does not restore, for OFFER and SWITCH. */
#ifndef HAUL_THREADS_H
#define HAUL_THREADS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct threads;
struct Haul__Offer;
struct Haul__Switch;

/** threads_new() - before the freeze: what has to be loaded for it. @locks: memory is locked. Return: 0; -ENOMEM */
int threads_new(struct threads **out, pid_t root, bool locks, struct err *e);
/** threads_offer() - OFFER.cpus of the tree of @root; threads_offer_free() afterwards */
int threads_offer(pid_t root, struct Haul__Offer *o, struct err *e);
void threads_offer_free(struct Haul__Offer *o);
/**
 * threads_stopped() - the tree has just been stopped, and CRIU has not run a system call in it yet:
 * note how long interrupted system calls still had to wait. What cannot be read is not known.
 */
void threads_stopped(struct threads *t);
/**
 * threads_again() - the move is undone, the tree is stopped still: an interrupted system call of the first thread of
 * a process continues. @images_fd: what CRIU has written. @t may be NULL. What fails is logged
 */
void threads_again(const struct threads *t, int images_fd);
/** threads_note() - while CRIU dumps: read what they have. @t may be NULL. Return: 0; -errno */
int threads_note(struct threads *t, struct err *e);
/** threads_switch() - SWITCH.thread and on_fault, what was noted; it stays @t's. @t may be NULL */
void threads_switch(const struct threads *t, struct Haul__Switch *s);
void threads_free(struct threads *t);
DEFINE_AUTO(threads, threads_free)

#endif
