/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base.h - a container runtime's request to CRIU, as the base of haul's own. */
#ifndef HAUL_BASE_H
#define HAUL_BASE_H

#include <stdbool.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/criu/criu.pb-c.h"

struct base {
	Crpc__Req *req; /* NULL: none: haul's request alone */
	Crpc__Opts opts; /* its options, to be changed and sent; what it points to is @req's */
	Crpc__InheritFd **inherit;
	char **external;
};

/**
 * base_load() - from the bytes of a request; NULL: no options yet
 * Fields that haul does not know stay as they are, but for those that would work against its own.
 */
int base_load(struct base *b, const uint8_t *data, size_t bytes, struct err *e);
/** base_add() - to the lists of its options, in @opts. Return: 0; -ENOMEM */
int base_add(struct base *b, Crpc__Opts *opts, Crpc__InheritFd **inherit, size_t n_inherit,
             char *const *external, size_t n_external);
struct criu_opts;
/** base_dump() - haul's own options of a dump, over those of the base. @ps: the caller's, for @pages_fd, the page stream's number in CRIU's table */
void base_dump(Crpc__Opts *opts, const struct criu_opts *o, Crpc__PageServer *ps, int pages_fd);
/** base_restore() - the same of a restore */
void base_restore(Crpc__Opts *opts, const struct criu_opts *o);
/** base_fini() - free what base_load() and base_add() have made */
void base_fini(struct base *b);
static inline void auto_base(struct base *b)
{
	base_fini(b);
}

#endif
