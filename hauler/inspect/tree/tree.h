/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree.h - parts of the inspection that look at the tree's processes, and at those outside. */
#ifndef HAUL_INSPECT_TREE_H
#define HAUL_INSPECT_TREE_H

#include "hauler/inspect/priv.h"

/* ---- tasks.c ---- */
/** inspect_task() - state, memory, user, threads and namespaces of task number @k */
int inspect_task(struct inspect *i, size_t k);
/** inspect_limits() - after all tasks: can CRIU learn the limits of all? Return: 0; -ENOMEM */
int inspect_limits(struct inspect *i);
/** inspect_sessions() - after all tasks: which process leads their sessions and groups? */
int inspect_sessions(struct inspect *i);

/* ---- lost.c ---- */
/** inspect_lost() - name what no one can restore of @pid and its threads. Return: 0; -ENOMEM */
int inspect_lost(struct inspect *i, pid_t pid);

/* ---- copies.c ---- */
/** inspect_copies() - after all tasks: say what copies of shared pages take at the destination. Return: 0; -ENOMEM */
int inspect_copies(struct inspect *i);

/* ---- sandbox.c ---- */
/** inspect_sandboxes() - what processes have put upon themselves, where the kernel tells. Return: 0; -ENOMEM */
int inspect_sandboxes(struct inspect *i);

/* ---- sysv.c ---- */
/** inspect_sysv() - after all tasks: System V objects of the host that the tree uses. Return: 0; -ENOMEM */
int inspect_sysv(struct inspect *i);

/* ---- hints.c ---- */
/** inspect_hints() - what open files have that only the kernel's memory tells, where it does. Return: 0; -ENOMEM */
int inspect_hints(struct inspect *i);

/* ---- supervisor.c ---- */
/** inspect_supervisor() - which program would start the tree again, or kill the stopped copy? Return: 0; -ENOMEM */
int inspect_supervisor(struct inspect *i);

/* ---- outside.c ---- */
/** inspect_outside_tree() - what processes outside share with the tree; one pass over /proc. Return: 0; -ENOMEM */
int inspect_outside_tree(struct inspect *i);

#endif
