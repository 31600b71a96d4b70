/* SPDX-License-Identifier: GPL-2.0-or-later */
/* held.h - does the restored tree hold only files that it may have? docs/SECURITY.md. */
#ifndef HAUL_AGENT_HELD_H
#define HAUL_AGENT_HELD_H

#include "common/err.h"

struct wrk;

/**
 * held_check() - at the gate: judge what each restored process has open, mapped, as its
 * program, working directory and root directory, with that process's own identity
 * Return: 0; -EACCES it may not have one of them; -ESTALE it is not the file that was accepted
 */
int held_check(struct wrk *w, struct err *e);

#endif
