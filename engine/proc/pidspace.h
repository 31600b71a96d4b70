/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pidspace.h - the numbers that processes of another pid namespace have there and here. */
#ifndef HAUL_ENGINE_PROC_PIDSPACE_H
#define HAUL_ENGINE_PROC_PIDSPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct pidspace_pair {
	pid_t inner, outer;
};

/* All threads of a pid namespace, by their numbers in it. */
struct pidspace {
	struct pidspace_pair *v;
	size_t n, cap;
};

/** pidspace_is_ours() - is @pid in the pid namespace of this process? Also when it is gone */
bool pidspace_is_ours(pid_t pid);
/** pidspace_inner() - the number that @pid has in its own pid namespace. Return: 0: it is gone */
pid_t pidspace_inner(pid_t pid);
/** pidspace_open() - a namespace of @pid, "pid", "mnt", "uts". Return: descriptor, the caller's; -errno */
int pidspace_open(pid_t pid, const char *kind, struct err *e);
/** pidspace_load() - the threads of the pid namespace of @member. Return: 0; -ENOMEM; -ESRCH it is gone */
int pidspace_load(struct pidspace *s, pid_t member);
/** pidspace_outer() - the number here of the thread that is @inner there. Return: 0: there is none */
pid_t pidspace_outer(const struct pidspace *s, pid_t inner);
void pidspace_fini(struct pidspace *s);

static inline void auto_pidspace(struct pidspace *s)
{
	pidspace_fini(s);
}

#endif
