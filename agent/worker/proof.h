/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proof.h - do files of the offer have the same content on both hosts? */
#ifndef HAUL_AGENT_PROOF_H
#define HAUL_AGENT_PROOF_H

#include <stddef.h>

struct err;
struct files_doubt;
struct wrk;
struct Haul__Switch;

/** proof_ask() - check_host.prove: ask the source for digests. @arg: struct wrk * */
int proof_ask(void *arg, struct files_doubt *v, size_t n, struct err *e);
/** proof_still() - before the restore: are shared files still as they were compared? */
int proof_still(struct wrk *w, const struct Haul__Switch *s, struct err *e);

#endif
