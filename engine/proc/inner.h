/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inner.h - a tree with a pid namespace of its own: its processes and threads have one number here, the outer one, and
 * another one there. Images, the wire and the destination know them by the inner one. A tree of our own namespace
 * has one number for both. One tree for each program: what a migration moves.
 */
#ifndef HAUL_INNER_H
#define HAUL_INNER_H

#include <stdint.h>
#include <sys/types.h>

/** inner_tree() - from now on this is the tree, by the outer number of its root; again: what is known is read anew */
void inner_tree(pid_t root);
/** inner_of() - of the task @outer of the tree; @outer itself if it is gone */
pid_t inner_of(pid_t outer);
/** inner_outer() - the task whose inner number is @inner; 0: there is none */
pid_t inner_outer(pid_t inner);
/** inner_obj() - the object that is the memory of @outer */
uint64_t inner_obj(pid_t outer);

#endif
