/* SPDX-License-Identifier: GPL-2.0-or-later */
/* terminals.h - what waited in the terminals of the tree, into those of the restored one. */
#ifndef HAUL_WORKER_TERMINALS_H
#define HAUL_WORKER_TERMINALS_H

struct Haul__Switch;
struct wrk;

/** terminals_put() - at the gate. What cannot be put there is logged */
void terminals_put(const struct wrk *w, const struct Haul__Switch *s);

#endif
