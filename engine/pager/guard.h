/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard.h - processes that share the pager's descriptors and memory, and take over when it dies.
 */
#ifndef HAUL_GUARD_H
#define HAUL_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

/*
 * Two guardians share the table of descriptors with the process that calls guard_start() (so no
 * userfaultfd closes with it, and none can be missed), and the memory in which the pager keeps its
 * essential state. When that process dies after guard_arm(), one guardian becomes its successor
 * and a new guardian joins the other; if it dies before, its work is undone: all descriptors
 * close.
 */
struct guard;
struct arena;
struct pbook;

#define GUARD_USER_BYTES 4096u

struct guard_ops {
	/*
	 * Called in the successor: one thread, private memory as at guard_start(). Return: exit
	 * status
	 */
	int (*succeed)(void *arg, struct guard *g);
	void *arg;
	/*
	 * Called in one guardian, which then ends: the worker died before guard_arm(). May be NULL
	 */
	void (*undone)(void *arg, struct guard *g);
};

/**
 * guard_new() - allocate shared memory; a process that forks the worker afterwards can read it
 * from outside
 */
int guard_new(struct guard **out, struct err *e);
void guard_free(struct guard *g);
DEFINE_AUTO(guard, guard_free)
/** guard_start() - start the guardians; call it early, with one thread and little memory */
int guard_start(struct guard *g, const struct guard_ops *ops, struct err *e);
/** guard_user() - shared memory for the caller, GUARD_USER_BYTES, zeroed at first */
void *guard_user(struct guard *g);
/** guard_keep() / guard_unkeep() - a descriptor that the successor needs too */
void guard_keep(struct guard *g, int fd);
void guard_unkeep(struct guard *g, int fd);
/** guard_arm() - from now on a death has a successor; call it just before the commit */
void guard_arm(struct guard *g);
/** guard_complete() - no page is missing any more: the tree no longer needs us */
void guard_complete(struct guard *g);
/** guard_completed() - has guard_complete() been called, by whichever process? */
bool guard_completed(const struct guard *g);
/** guard_over() - the outcome has been reported (or everything is undone): guardians may end */
void guard_over(struct guard *g);
/**
 * guard_watched() - give a high number to a socket whose other end is watched
 * When a process ends, its files close from the highest number down, so the watcher notices just
 * before the userfaultfds close.
 * Return: the new number (the old is closed)
 */
int guard_watched(int fd);
/** guard_tree() - set the root of the restored tree, before guard_arm() */
void guard_tree(struct guard *g, pid_t root);
/**
 * guard_end_tree() - from outside, when the worker and all guardians are dead: if pages may be
 * missing, stop and kill the tree, because it would read zeros in their place
 * @killed: out: number of processes killed
 * Return: 0; -ESRCH its root is gone (its descendants cannot be found)
 */
int guard_end_tree(struct guard *g, unsigned int *killed, struct err *e);
/** guard_deaths() - number of times that a successor took over */
unsigned int guard_deaths(const struct guard *g);
/** guard_alone() - in the serving process: is there no guardian behind it? Normal for a moment */
bool guard_alone(const struct guard *g);
/**
 * guard_pids() - pids of the serving process and of the guardians behind it; for tests and
 * operators. Return: their number
 */
unsigned int guard_pids(const struct guard *g, pid_t *v, unsigned int max);
/**
 * guard_close_rest() - close all descriptors except kept ones, 0 to 2, and those that @ours
 * accepts
 */
int guard_close_rest(struct guard *g, bool (*ours)(void *arg, int fd), void *arg, struct err *e);
/** guard_arena() - the memory that all guardians share */
struct arena *guard_arena(struct guard *g);
/** guard_book() - the book of missing pages in that memory */
struct pbook *guard_book(struct guard *g);

#endif
