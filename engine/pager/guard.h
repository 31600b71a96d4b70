/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guard.h - processes that hold what the pager holds, and take over when it dies. */
#ifndef HAUL_GUARD_H
#define HAUL_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

/*
 * Two guardians share the table of descriptors with the process that calls
 * guard_start() (so no userfaultfd closes with it, and none can be missed), and the
 * memory in which the pager keeps what it must not lose. When that process dies after
 * guard_arm(), one of them becomes its successor and the other gets a new guardian
 * behind it; dying before, it takes nothing with it but is undone: all descriptors close.
 */
struct guard;
struct arena;
struct pbook;

#define GUARD_USER_BYTES 4096u

struct guard_ops {
	/* In the successor: one thread, memory as at guard_start(). Return: exit status */
	int (*succeed)(void *arg, struct guard *g);
	void *arg;
	/* In one guardian, which ends then: the worker died before guard_arm(). May be NULL */
	void (*undone)(void *arg, struct guard *g);
};

/** guard_new() - memory to share; who has it before the fork can look in from outside */
int guard_new(struct guard **out, struct err *e);
void guard_free(struct guard *g);
DEFINE_AUTO(guard, guard_free)
/** guard_start() - early: one thread only, little memory. Guardians run at return */
int guard_start(struct guard *g, const struct guard_ops *ops, struct err *e);
/** guard_user() - shared memory of the caller, zeroed at first */
void *guard_user(struct guard *g);
/** guard_keep() / guard_unkeep() - a descriptor that the successor needs, too */
void guard_keep(struct guard *g, int fd);
void guard_unkeep(struct guard *g, int fd);
/** guard_arm() - from now on there is a successor: just before the commit */
void guard_arm(struct guard *g);
/** guard_complete() - no page is missing any more: the tree does not need us */
void guard_complete(struct guard *g);
bool guard_completed(const struct guard *g);
/** guard_over() - all has been said, too (or all is undone): guardians may go */
void guard_over(struct guard *g);
/**
 * guard_watched() - give a socket whose other end somebody watches a high number
 * As a process ends its files close from the highest number down, so he hears of it
 * just before the userfaultfds close. Return: the new number (the old is closed)
 */
int guard_watched(int fd);
/** guard_tree() - whom it is all about, before guard_arm() */
void guard_tree(struct guard *g, pid_t root);
/**
 * guard_end_tree() - from outside, when all who served are dead: where pages may be
 * missing, the tree is stopped and killed, for it would read zeros in their place
 * @killed: out: processes
 * Return: 0; -ESRCH its first process is gone (what it left behind is not found)
 */
int guard_end_tree(struct guard *g, unsigned int *killed, struct err *e);
/** guard_deaths() - how often a successor was needed */
unsigned int guard_deaths(const struct guard *g);
/** guard_alone() - in who serves: does nobody stand behind it? For a moment that is normal */
bool guard_alone(const struct guard *g);
/** guard_pids() - who serves, then those behind; for tests and operators. Return: how many */
unsigned int guard_pids(const struct guard *g, pid_t *v, unsigned int max);
/** guard_close_rest() - all descriptors but kept ones, 0 to 2, and those of @ours */
int guard_close_rest(struct guard *g, bool (*ours)(void *arg, int fd), void *arg, struct err *e);
struct arena *guard_arena(struct guard *g);
struct pbook *guard_book(struct guard *g);

#endif
