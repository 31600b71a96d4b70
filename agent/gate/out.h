/* SPDX-License-Identifier: GPL-2.0-or-later */
/* out.h - replacements for files that led out of the tree. docs/PROTOCOL.md section 10. */
#ifndef HAUL_AGENT_OUT_H
#define HAUL_AGENT_OUT_H

#include "common/finding.h"
#include "engine/criu/criu.h"

struct wrk;
struct out_places;
struct Haul__Offer;

/** out_offer() - remember the replacements, and add a finding for each that this host lacks */
int out_offer(struct wrk *w, const struct Haul__Offer *o, const char *allow, struct findings *f,
              struct err *e);
/** out_open() - open all of them, before CRIU is started */
int out_open(struct wrk *w, struct err *e);
/** out_list() - the descriptors for CRIU; borrowed from @a */
const struct criu_inherit *out_list(const struct out_places *a, size_t *n);
struct Haul__Switch;
/** out_unread_keep() - keep what was in the pipes at the source, for out_unread() */
int out_unread_keep(struct wrk *w, const struct Haul__Switch *s, struct err *e);
/** out_unread() - the tree runs next: what it, or its reader, had not read yet goes into haul land's pipes */
void out_unread(const struct wrk *w);
/** out_close() - close ours: CRIU has copies, or needs none any more */
void out_close(struct out_places *a);
/** out_undo() - remove files that we created and that are still empty */
void out_undo(struct out_places *a);
void out_free(struct out_places *a);

#endif
