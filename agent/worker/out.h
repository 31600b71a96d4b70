/* SPDX-License-Identifier: GPL-2.0-or-later */
/* out.h - what takes the place of files that led out of the tree. docs/PROTOCOL.md section 10. */
#ifndef HAUL_AGENT_OUT_H
#define HAUL_AGENT_OUT_H

#include "common/finding.h"
#include "engine/criu/criu.h"

struct wrk;
struct aout;
struct Haul__Offer;

/** aout_offer() - remember what is wanted; can this host give it? Return: 0; -errno */
int aout_offer(struct wrk *w, const struct Haul__Offer *o, const char *allow, struct findings *f,
               struct err *e);
/** aout_open() - open all, before CRIU is started */
int aout_open(struct wrk *w, struct err *e);
/** aout_list() - for CRIU; lives as long as the aout */
const struct criu_inherit *aout_list(const struct aout *a, size_t *n);
/** aout_close() - CRIU has its copies, or needs none any more */
void aout_close(struct aout *a);
/** aout_undo() - files that we made, and nobody has written to, go */
void aout_undo(struct aout *a);
void aout_free(struct aout *a);

/* ---- tty.c ---- */

/**
 * tty_open() - a terminal, and a process that holds its other end until nobody has it open
 * @pid: of the process that will have it; names its door
 */
int tty_open(pid_t pid, int *slave, struct err *e);
/** tty_main() - that process: hauld --hold-tty PID. Return: exit status */
int tty_main(const char *pid);

#endif
